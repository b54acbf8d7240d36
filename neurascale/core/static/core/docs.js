// Swagger UI of this server's own schema. Whoever is logged in to the portal tries requests out as
// themselves: what changes something then needs the CSRF token too.
"use strict";

const page = document.getElementById("docs");
const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1];

SwaggerUIBundle({
  url: page.dataset.schema,
  domNode: page,
  deepLinking: true,
  validatorUrl: null, // would ask a server elsewhere
  requestInterceptor: (request) => {
    if (csrfToken() && !["GET", "HEAD", "OPTIONS"].includes(request.method ?? "GET")) {
      request.headers["X-CSRFToken"] = csrfToken();
    }
    return request;
  },
});
