import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { type CBORType, encodeCBOR } from "@levischuck/tiny-cbor";

/** Faults that a test can cause in an authenticator or a browser. */
export interface Misbehaviour {
  readonly origin?: string;
  readonly rpId?: string;
  readonly type?: string;
  readonly challenge?: string;
  readonly crossOrigin?: boolean;
  readonly topOrigin?: string;
  readonly userPresent?: boolean;
  readonly userVerified?: boolean;
  readonly backupEligible?: boolean;
  readonly signCount?: number;
  readonly userHandle?: string | null;
  readonly tamperSignature?: boolean;
  /** Attestation statement instead of none. */
  readonly attestation?: { format: string; statement: Map<string, CBORType> };
}

interface CreationOptions {
  readonly challenge: string;
  readonly rp: { readonly id?: string };
  readonly user: { readonly id: string };
}
interface RequestOptions {
  readonly challenge: string;
  readonly rpId?: string;
}

const FLAGS = { up: 0x01, uv: 0x04, be: 0x08, bs: 0x10, at: 0x40 };
const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest();
const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");

/** A passkey in software (ES256, attestation "none") with the browser around it: WebAuthn Level 3 §6 and §5.8. */
export class SoftwareAuthenticator {
  readonly credentialId: Buffer = randomBytes(32);
  signCount = 0;
  readonly #defaults: Misbehaviour;
  readonly #privateKey: KeyObject;
  readonly #publicKey: KeyObject;
  #userHandle = "";

  constructor(defaults: Misbehaviour = {}) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#privateKey = privateKey;
    this.#publicKey = publicKey;
    this.#defaults = { origin: "http://localhost:5678", rpId: "localhost", userVerified: true, ...defaults };
  }

  /** `navigator.credentials.create()`, as `toJSON()` returns it. */
  create(options: CreationOptions, wrong: Misbehaviour = {}): Record<string, unknown> {
    const how = { ...this.#defaults, ...wrong };
    this.#userHandle = options.user.id;
    const clientDataJSON = this.#clientData("webauthn.create", options.challenge, how);
    const attestationObject = encodeCBOR(
      new Map<string, CBORType>([
        ["fmt", how.attestation?.format ?? "none"],
        ["attStmt", how.attestation?.statement ?? new Map()],
        ["authData", new Uint8Array(Buffer.concat([this.#head(how, FLAGS.at), this.#attestedCredential()]))],
      ]),
    );
    return this.#credential({
      clientDataJSON: base64url(clientDataJSON),
      attestationObject: base64url(attestationObject),
      transports: ["internal", "hybrid"],
    });
  }

  /** `navigator.credentials.get()`, as `toJSON()` returns it. */
  get(options: RequestOptions, wrong: Misbehaviour = {}): Record<string, unknown> {
    const how = { ...this.#defaults, ...wrong };
    this.signCount = how.signCount ?? this.signCount + 1;
    const clientDataJSON = this.#clientData("webauthn.get", options.challenge, how);
    const authenticatorData = this.#head(how, 0);
    const signature = sign(
      "sha256",
      Buffer.concat([authenticatorData, sha256(clientDataJSON)]),
      this.#privateKey,
    );
    if (how.tamperSignature) signature[signature.length - 1]! ^= 1;
    const userHandle = how.userHandle === undefined ? this.#userHandle : how.userHandle;
    return this.#credential({
      clientDataJSON: base64url(clientDataJSON),
      authenticatorData: base64url(authenticatorData),
      signature: base64url(signature),
      ...(userHandle === null ? {} : { userHandle }),
    });
  }

  #clientData(type: string, challenge: string, how: Misbehaviour): Buffer {
    return Buffer.from(
      JSON.stringify({
        type: how.type ?? type,
        challenge: how.challenge ?? challenge,
        origin: how.origin,
        crossOrigin: how.crossOrigin ?? false,
        ...(how.topOrigin === undefined ? {} : { topOrigin: how.topOrigin }),
      }),
    );
  }

  #head(how: Misbehaviour, more: number): Buffer {
    const flags =
      (how.userPresent === false ? 0 : FLAGS.up) |
      (how.userVerified ? FLAGS.uv : 0) |
      (how.backupEligible ? FLAGS.be | FLAGS.bs : 0) |
      more;
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(how.signCount ?? this.signCount);
    return Buffer.concat([sha256(how.rpId!), Buffer.from([flags]), counter]);
  }

  /** AAGUID, length and id of the credential, and its key as COSE_Key (RFC 9052 §7). */
  #attestedCredential(): Buffer {
    const { x, y } = this.#publicKey.export({ format: "jwk" });
    const key = encodeCBOR(
      new Map<number, CBORType>([
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, new Uint8Array(Buffer.from(x!, "base64url"))],
        [-3, new Uint8Array(Buffer.from(y!, "base64url"))],
      ]),
    );
    const length = Buffer.alloc(2);
    length.writeUInt16BE(this.credentialId.length);
    return Buffer.concat([Buffer.alloc(16), length, this.credentialId, key]);
  }

  #credential(response: Record<string, unknown>) {
    const id = base64url(this.credentialId);
    const clientExtensionResults = {};
    return {
      id,
      rawId: id,
      type: "public-key",
      authenticatorAttachment: "platform",
      response,
      clientExtensionResults,
    };
  }
}
