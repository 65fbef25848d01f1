/** The parts of the browser's API that are used here; Node has none of them. */
interface Browser {
  readonly PublicKeyCredential?: {
    parseCreationOptionsFromJSON(options: unknown): unknown;
    parseRequestOptionsFromJSON(options: unknown): unknown;
  };
  readonly navigator?: {
    readonly credentials?: Record<
      "create" | "get",
      (options: {
        publicKey: unknown;
        signal: AbortSignal | undefined;
      }) => Promise<{ toJSON(): unknown } | null>
    >;
  };
}

/**
 * Lets the browser create or use a passkey.
 * @returns its answer for the server
 * @throws DOMException NotAllowedError if the user cancels
 */
export async function askBrowser(
  action: "create" | "get",
  options: unknown,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const { PublicKeyCredential: parser, navigator } = globalThis as Browser;
  if (!parser || !navigator?.credentials) throw new TypeError("Passkeys need a browser and HTTPS.");
  const publicKey =
    action === "create"
      ? parser.parseCreationOptionsFromJSON(options)
      : parser.parseRequestOptionsFromJSON(options);
  const credential = await navigator.credentials[action]({ publicKey, signal });
  if (!credential) throw new TypeError("The browser returned no passkey.");
  return credential.toJSON();
}
