import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { PlinthError } from "./errors.ts";

// How a setting is read and what a wrong one is told. All throw PlinthError INVALID_SETTING and name the variable.

export type Environment = Readonly<Record<string, string | undefined>>;

export function invalid(name: string, value: string, expected: string): PlinthError {
  return new PlinthError("INVALID_SETTING", `${name} is ${JSON.stringify(value)}, but must be ${expected}.`);
}

export function text(env: Environment, name: string, fallback: string): string {
  return env[name] || fallback;
}

/** The file that holds what the variable would; one of the two, so that nobody wonders which counts. */
export function fileInstead(env: Environment, name: string): string | undefined {
  const path = env[`${name}_FILE`];
  if (!path) return undefined;
  if (env[name])
    throw new PlinthError("INVALID_SETTING", `${name} and ${name}_FILE exclude each other; set one of them.`);
  return resolve(path);
}

/** A text that is long or secret and may therefore stand in a file; no message repeats it. */
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

/** A text of a certain form. */
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

/** A whole number within bounds. */
export function integer(env: Environment, name: string, fallback: number, min: number, max: number): number {
  const value = env[name];
  if (!value) return fallback;
  const number = Number(value);
  if (!Number.isInteger(number) || number < min || number > max)
    throw invalid(name, value, `a whole number from ${min} to ${max}`);
  return number;
}

/** An http(s) URL, or nothing. */
export function optionalUrl(env: Environment, name: string): string | undefined {
  const value = env[name];
  if (!value) return undefined;
  if (!/^https?:\/\//.test(value) || !URL.canParse(value))
    throw invalid(name, value, "a URL such as https://example.com/account");
  return value;
}

/** true/false, yes/no, on/off, 1/0. */
export function flag(env: Environment, name: string, fallback: boolean): boolean {
  const value = env[name];
  if (!value) return fallback;
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off)$/i.test(value)) return false;
  throw invalid(name, value, "true or false");
}

/** Values with commas between. */
export function list(env: Environment, name: string): string[] {
  return (env[name] ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);
}

/** Without a fragment, which is where links put their token. */
export function webUrl(env: Environment, name: string, fallback: string): string {
  const value = env[name] || fallback;
  if (!/^https?:\/\/[^/]/.test(value) || !URL.canParse(value) || /[#?\s]/.test(value))
    throw invalid(name, value, "a URL such as https://app.example.com, without ? and #");
  return value.replace(/\/+$/, "");
}
