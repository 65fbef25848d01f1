import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { PlinthError } from "../support/errors.ts";

// Readers of settings. For an invalid setting, all throw PlinthError INVALID_SETTING and name the variable.

export type Environment = Readonly<Record<string, string | undefined>>;

export function invalid(name: string, value: string, expected: string): PlinthError {
  return new PlinthError("INVALID_SETTING", `${name} is ${JSON.stringify(value)}, but must be ${expected}.`);
}

export function text(env: Environment, name: string, fallback: string): string {
  return env[name] || fallback;
}

/** Returns the file to read instead of the variable. Setting both is an error, so that precedence is never in doubt. */
export function fileInstead(env: Environment, name: string): string | undefined {
  const path = env[`${name}_FILE`];
  if (!path) return undefined;
  if (env[name])
    throw new PlinthError("INVALID_SETTING", `${name} and ${name}_FILE are both set; set only one of them.`);
  return resolve(path);
}

/** Reads a long or secret text, which may also be in a file. Error messages never contain it. */
export function textOrFile(env: Environment, name: string, fallback: string): string {
  const file = fileInstead(env, name);
  if (!file) return text(env, name, fallback);
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new PlinthError(
      "INVALID_SETTING",
      `${name}_FILE is ${JSON.stringify(file)}, which cannot be read.`,
      {
        cause,
      },
    );
  }
}

/** Reads a text that must match a pattern. */
export function matching(
  env: Environment,
  name: string,
  fallback: string,
  pattern: RegExp,
  expected: string,
): string {
  const value = env[name] || fallback;
  if (!pattern.test(value)) throw invalid(name, value, expected);
  return value;
}

/** Reads one of several words, the first of which is the default. */
export function oneOf<TWord extends string>(
  env: Environment,
  name: string,
  words: readonly [TWord, ...TWord[]],
): TWord {
  const given = env[name] || words[0];
  const word = words.find((each) => each === given);
  if (!word) throw invalid(name, given, `one of ${words.join(", ")}`);
  return word;
}

/** Reads a whole number within bounds. */
export function integer(env: Environment, name: string, fallback: number, min: number, max: number): number {
  const value = env[name];
  if (!value) return fallback;
  const number = Number(value);
  // Digits only, because Number parses a blank as 0.
  if (!/^\d+$/.test(value) || number < min || number > max)
    throw invalid(name, value, `a whole number from ${min} to ${max}`);
  return number;
}

/** Reads an optional http(s) URL. */
export function optionalUrl(env: Environment, name: string): string | undefined {
  const value = env[name];
  if (!value) return undefined;
  if (!/^https?:\/\//.test(value) || !URL.canParse(value))
    throw invalid(name, value, "a URL such as https://example.com/account");
  return value;
}

/** Reads true/false, yes/no, on/off or 1/0. */
export function flag(env: Environment, name: string, fallback: boolean): boolean {
  const value = env[name];
  if (!value) return fallback;
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off)$/i.test(value)) return false;
  throw invalid(name, value, "true or false");
}

/** Reads values separated by commas. */
export function list(env: Environment, name: string): string[] {
  return (env[name] ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);
}

/** Like list(), but checks each value. */
export function listOf(
  env: Environment,
  name: string,
  isRight: (item: string) => boolean,
  expected: string,
): string[] {
  const items = list(env, name);
  for (const item of items) if (!isRight(item)) throw invalid(name, item, expected);
  return items;
}

const NAMED_NETWORK = /^(loopback|linklocal|uniquelocal)$/;
const NETMASK = /^(128|192|224|240|248|252|254|255)(\.\d{1,3}){3}$/;

/** Whether an item is an address, a network, or Express's name for networks. The range of all addresses (/0) is not allowed. */
export function isNetwork(item: string): boolean {
  if (NAMED_NETWORK.test(item)) return true;
  const [address = "", range, ...rest] = item.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  if (range === undefined) return true;
  if (version === 4 && NETMASK.test(range)) return true;
  return /^[1-9]\d{0,2}$/.test(range) && Number(range) <= (version === 4 ? 32 : 128);
}

/** Whether an item is an address, or a network in CIDR notation that does not contain all addresses. */
export function isAddressRange(item: string): boolean {
  return isNetwork(item) && !NAMED_NETWORK.test(item) && !NETMASK.test(item.split("/")[1] ?? "");
}

/** Whether an item has the form of a browser's Origin header (RFC 6454 §6.2), which is compared as a whole; `*` means all. */
export function isOrigin(item: string): boolean {
  return item === "*" || item === "null" || /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/i.test(item);
}

/** Reads a URL without a fragment, because links put their token there. */
export function webUrl(env: Environment, name: string, fallback: string): string {
  const value = env[name] || fallback;
  if (!/^https?:\/\/[^/]/.test(value) || !URL.canParse(value) || /[#?\s]/.test(value))
    throw invalid(name, value, "a URL such as https://app.example.com, without ? and #");
  return value.replace(/\/+$/, "");
}
