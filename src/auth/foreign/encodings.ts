/** Reads hexadecimal text; undefined for any other text. */
export function fromHex(text: string): Buffer | undefined {
  return /^([0-9a-f]{2})+$/i.test(text) ? Buffer.from(text, "hex") : undefined;
}

/** Reads base64, with or without padding, also base64url and passlib's alphabet with "." for "+"; undefined for any other text. */
export function fromBase64(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9+/._-]+={0,2}$/.test(text)) return undefined;
  const bytes = Buffer.from(text.replaceAll(".", "+"), "base64");
  return bytes.length === Math.floor((text.replaceAll("=", "").length * 3) / 4) ? bytes : undefined;
}

/** Returns base64 as PHC strings have it, without padding. */
export function toBase64(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}
