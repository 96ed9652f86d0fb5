// What is asked of the service. The token lives in this variable only.

let token = "";

export class Failure extends Error {
  /** status: HTTP's; 0 where no answer came. */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useToken(text) {
  token = text;
}

/** An answer that is fine; otherwise throws Failure with the service's words. */
export async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch {
    throw new Failure(0, "The service does not answer.");
  }
  if (response.ok) return response;
  let message = `The service answered with ${response.status}.`;
  try {
    message = (await response.json()).error ?? message;
  } catch { /* not from this service: its status must do */ }
  throw new Failure(response.status, message);
}

/** Where a version of a model is. */
export const modelPath = (name, version) =>
  `v2/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`;

/** The names, versions and states of all models. */
export const models = async () => (await ask("v2/repository/index", { method: "POST", body: "{}" })).json();
