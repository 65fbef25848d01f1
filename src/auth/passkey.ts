import {
  type AuthenticationResponseJSON,
  generateAuthenticationOptions,
  generateRegistrationOptions,
  type RegistrationResponseJSON,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from "@simplewebauthn/server";
import { decodeAttestationObject } from "@simplewebauthn/server/helpers";

/** The relying party: a passkey works for its relying party only, which makes it phishing-resistant. */
export interface RelyingParty {
  /** Shown by browsers and authenticator apps. */
  readonly name: string;
  /** A domain, such as `example.com`; passkeys are permanently bound to it. */
  readonly id: string;
  /** The origins of the application's pages, such as `https://app.example.com`. */
  readonly origins: readonly string[];
}

/** A passkey to allow or exclude; the id in hex. */
export interface PasskeyHint {
  readonly id: string;
  readonly transports: readonly string[];
}

export interface NewPasskey {
  readonly credentialId: Buffer;
  /** COSE_Key (RFC 9052). */
  readonly publicKey: Buffer;
  readonly signCount: number;
  readonly transports: readonly string[];
  readonly isBackupEligible: boolean;
  readonly isBackedUp: boolean;
  readonly aaguid: string | null;
}

/** Ed25519, ES256 and RS256 (RFC 9053): every authenticator supports one of them. */
const ALGORITHMS = [-8, -7, -257];
/** The lifetime of a challenge in the database. */
const TIMEOUT_MS = 300_000;
const KNOWN_TRANSPORTS = new Set(["ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"]);
const NO_MODEL = "00000000-0000-0000-0000-000000000000";

/** Returns the options for `navigator.credentials.create()` (`PublicKeyCredential.parseCreationOptionsFromJSON`). */
export function passkeyCreationOptions(
  rp: RelyingParty,
  options: {
    readonly challenge: Uint8Array;
    readonly userId: string;
    readonly username: string;
    readonly exclude: readonly PasskeyHint[];
    /** Requests a passkey that can sign in alone: stored on the device, unlocked by PIN or biometrics. */
    readonly passwordless: boolean;
  },
) {
  const wish = options.passwordless ? "required" : "preferred";
  return generateRegistrationOptions({
    rpName: rp.name,
    rpID: rp.id,
    challenge: new Uint8Array(options.challenge),
    userID: new Uint8Array(userHandle(options.userId)),
    userName: options.username,
    userDisplayName: options.username,
    timeout: TIMEOUT_MS,
    attestationType: "none",
    excludeCredentials: options.exclude.map(descriptor),
    authenticatorSelection: { residentKey: wish, userVerification: wish },
    supportedAlgorithmIDs: ALGORITHMS,
  });
}

/** Returns the options for `navigator.credentials.get()`; without a list of passkeys the device offers its own. */
export function passkeyRequestOptions(
  rp: RelyingParty,
  options: {
    readonly challenge: Uint8Array;
    readonly allow: readonly PasskeyHint[];
    readonly userVerification: "required" | "preferred";
  },
) {
  return generateAuthenticationOptions({
    rpID: rp.id,
    challenge: new Uint8Array(options.challenge),
    timeout: TIMEOUT_MS,
    userVerification: options.userVerification,
    allowCredentials: options.allow.map(descriptor),
  });
}

/** Returns the challenge that a response claims to answer, 32 bytes; undefined when it cannot be read. */
export function challengeOf(response: unknown): Buffer | undefined {
  const challenge = clientDataOf(response)?.challenge;
  if (typeof challenge !== "string" || !/^[A-Za-z0-9_-]{43}$/.test(challenge)) return undefined;
  return Buffer.from(challenge, "base64url");
}

/** Returns the credential id of an assertion; undefined when it cannot be read. */
export function credentialIdOf(response: unknown): Buffer | undefined {
  const id = (response as { id?: unknown } | null)?.id;
  if (typeof id !== "string" || !/^[A-Za-z0-9_-]{1,1364}$/.test(id)) return undefined;
  return Buffer.from(id, "base64url");
}

/**
 * Checks a registration (WebAuthn Level 3 §7.1): type, challenge, origin, relying party, user presence, algorithm,
 * attestation. Requests no attestation and accepts only self-attestation, so no certificate is ever followed.
 * @returns undefined when anything is wrong
 */
export async function verifyPasskeyRegistration(
  rp: RelyingParty,
  response: unknown,
  challenge: Uint8Array,
): Promise<NewPasskey | undefined> {
  if (isCrossOrigin(response)) return undefined;
  try {
    const given = response as RegistrationResponseJSON;
    if (!attestsItself(given.response.attestationObject)) return undefined;
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response: given,
      expectedChallenge: Buffer.from(challenge).toString("base64url"),
      expectedOrigin: [...rp.origins],
      expectedRPID: rp.id,
      requireUserVerification: false,
      supportedAlgorithmIDs: ALGORITHMS,
    });
    if (!verified) return undefined;
    const { credential, aaguid, credentialDeviceType, credentialBackedUp } = registrationInfo;
    // The ids reported by the browser and by the authenticator must match.
    if (credential.id !== given.id) return undefined;
    return {
      credentialId: Buffer.from(credential.id, "base64url"),
      publicKey: Buffer.from(credential.publicKey),
      signCount: credential.counter,
      transports: knownTransports(credential.transports),
      isBackupEligible: credentialDeviceType === "multiDevice",
      isBackedUp: credentialBackedUp,
      aaguid: aaguid === NO_MODEL ? null : aaguid,
    };
  } catch {
    // The library throws for any fault, and for unforeseen hostile input.
    return undefined;
  }
}

/**
 * Checks an assertion (WebAuthn Level 3 §7.2) except the signature counter, which the database compares under a lock.
 * @returns undefined when anything is wrong
 */
export async function verifyPasskeyAssertion(
  rp: RelyingParty,
  response: unknown,
  expected: {
    readonly challenge: Uint8Array;
    readonly credentialId: Uint8Array;
    readonly publicKey: Uint8Array;
    readonly isBackupEligible: boolean;
    readonly requireUserVerification: boolean;
    /** Owner of the credential, by account id. */
    readonly userId: string;
    /** In a sign-in without a user name, the authenticator must name its user. */
    readonly requireUserHandle: boolean;
  },
): Promise<{ signCount: number; isBackedUp: boolean } | undefined> {
  if (isCrossOrigin(response)) return undefined;
  try {
    const given = response as AuthenticationResponseJSON;
    if (!namesUser(given.response.userHandle, expected)) return undefined;
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: given,
      expectedChallenge: Buffer.from(expected.challenge).toString("base64url"),
      expectedOrigin: [...rp.origins],
      expectedRPID: rp.id,
      requireUserVerification: expected.requireUserVerification,
      credential: {
        id: Buffer.from(expected.credentialId).toString("base64url"),
        publicKey: new Uint8Array(expected.publicKey),
        counter: 0,
      },
    });
    if (!verified) return undefined;
    // Backup eligibility of a key is fixed at its creation (§7.2).
    if ((authenticationInfo.credentialDeviceType === "multiDevice") !== expected.isBackupEligible)
      return undefined;
    return { signCount: authenticationInfo.newCounter, isBackedUp: authenticationInfo.credentialBackedUp };
  } catch {
    return undefined;
  }
}

/** The user handle stored by the authenticator: the account's id, 16 bytes, without personal data (§14.6.1). */
export function userHandle(userId: string): Buffer {
  return Buffer.from(userId.replaceAll("-", ""), "hex");
}

function namesUser(
  handle: unknown,
  { userId, requireUserHandle }: { userId: string; requireUserHandle: boolean },
): boolean {
  // Browsers omit it for keys that are not stored on the device.
  if (handle === undefined || handle === null || handle === "") return !requireUserHandle;
  return typeof handle === "string" && handle === userHandle(userId).toString("base64url");
}

/** Rejects `crossOrigin`, which the library accepts without a `topOrigin`: our pages never run in another site's iframe. */
function isCrossOrigin(response: unknown): boolean {
  const clientData = clientDataOf(response);
  return clientData?.crossOrigin === true || clientData?.topOrigin !== undefined;
}

function attestsItself(attestationObject: string): boolean {
  const decoded = decodeAttestationObject(new Uint8Array(Buffer.from(attestationObject, "base64url")));
  const format = decoded.get("fmt");
  return format === "none" || (format === "packed" && !decoded.get("attStmt").get("x5c"));
}

function clientDataOf(response: unknown): Record<string, unknown> | undefined {
  const encoded = (response as { response?: { clientDataJSON?: unknown } } | null)?.response?.clientDataJSON;
  if (typeof encoded !== "string") return undefined;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(encoded, "base64url").toString());
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function knownTransports(transports: unknown): string[] {
  if (!Array.isArray(transports)) return [];
  return [...new Set(transports.filter((transport) => KNOWN_TRANSPORTS.has(transport)))];
}

function descriptor({ id, transports }: PasskeyHint) {
  return { id: Buffer.from(id, "hex").toString("base64url"), transports: [...transports] };
}
