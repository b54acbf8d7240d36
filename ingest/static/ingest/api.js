/** Calls of the REST API on behalf of the person who is logged in. */

export class LoggedOut extends Error {}

/**
 * Call /v1/`path` and return its answer.
 *
 * Throws LoggedOut where nobody is logged in any more, else an Error that says what to do.
 */
export async function call(method, path, body) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  const answer = await fetch(`/v1/${path}`, {
    method,
    headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    body: body && JSON.stringify(body),
  }).catch(() => {
    throw new Error("The server does not answer.");
  });
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  if (answer.status === 401) throw new LoggedOut("You are logged out.");
  throw new Error(sentence(content.error ?? { message: `The server answered ${answer.status}.` }));
}

/** Return all rows of a list, however many pages it has; `plural` is its path and its name. */
export async function all(plural) {
  const rows = [];
  let path = plural;
  while (path) {
    const page = await call("GET", path);
    rows.push(...page[plural]);
    const { next } = page.pagination;
    path = next && `${plural}${new URL(next, location.href).search}`;
  }
  return rows;
}

/** Return an error of the server as people read it: what is the matter, and what to do. */
export function sentence({ message, details }) {
  const whole = /[.!?]$/.test(message) ? message : `${message}.`;
  return [whole, details?.suggestion].filter(Boolean).join(" ");
}
