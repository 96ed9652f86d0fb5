// The language server has the same rule for the texts it answers for: tests/editors compares the two.
const NETWORK = /^\ufeff?(?:\{\s*)?["']?netspec["']?[ \t]*:(?:\s|(?![\s\S]))/m;
const PROFILE = /^\ufeff?["']?runner["']?[ \t]*:[ \t]*[0-9]+[ \t]*(?:#.*)?\r?$/m;

/** Whether a YAML text is a network, a file of blocks or a run profile, finished or not. */
export function looksLikeNetwork(text: string): boolean {
  return NETWORK.test(text) || PROFILE.test(text);
}
