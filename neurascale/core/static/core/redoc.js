// Redoc of this server's own schema; loaded before Redoc itself, to keep it within our policy.
//
// Redoc writes its styles into <style> elements, which the policy rightly refuses, and shows an
// image of its maker's server. Here the rules go into style sheets that scripts may make, with an
// element without effect in the place of <style>; and pictures come from this server or not at all.
"use strict";

const createElement = document.createElement.bind(document);

function withSheet(element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  element.appendChild = (text) => {
    if (text.data) sheet.replaceSync(text.data);
    return text;
  };
  return Object.defineProperty(element, "sheet", { value: sheet });
}

function ofThisServer(image) {
  image.setAttribute = (name, value) => {
    const isElsewhere = name === "src" && new URL(value, location).origin !== location.origin;
    if (!isElsewhere) Element.prototype.setAttribute.call(image, name, value);
  };
  return Object.defineProperty(image, "src", {
    set: (url) => image.setAttribute("src", url),
  });
}

document.createElement = (name, options) => {
  if (name === "style") return withSheet(createElement("template"));
  if (name === "img") return ofThisServer(createElement(name, options));
  return createElement(name, options);
};

addEventListener("DOMContentLoaded", () => {
  const page = document.getElementById("docs");
  Redoc.init(page.dataset.schema, { hideLogo: true, nativeScrollbars: true }, page);
});
