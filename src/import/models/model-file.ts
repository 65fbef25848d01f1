import { isObject } from "../../support/is-object.ts";
import { readJsonParts, topOf } from "../files/json-parts.ts";
import { unstorable } from "../import.ts";

/** A price in US dollars per million tokens from `from` until just before `to`; null means unbounded. */
interface Price {
  readonly input: number;
  readonly output: number;
  readonly inputCached: number | null;
  /** Null if reasoning costs the same as output. */
  readonly reasoning: number | null;
  readonly from: string | null;
  readonly to: string | null;
}

export interface Model {
  readonly vendor: string;
  readonly id: string;
  readonly name: string;
  /** Oldest first. */
  readonly priceHistory: readonly Price[];
}

/** A model, or a problem with a part of the file: `models[3] "gpt-4"`, or no name for the whole file. */
export type ModelReading =
  | { readonly model: Model }
  | { readonly name?: string; readonly line?: number; readonly problem: string };

/**
 * Reads one price file as a stream: `{vendor, models: [{id, name, price_history: [{input, output, input_cached, reasoning,
 * from_date, to_date}]}]}`, dates as YYYY-MM-DD or null. Other keys are ignored. An invalid model is reported as a problem, and
 * the others are still read.
 * @throws PlinthError FILE_* when the file cannot be read or is not text
 */
export async function* readModelFile(path: string): AsyncGenerator<ModelReading> {
  const vendor = await vendorOf(path);
  if (typeof vendor !== "string") {
    yield vendor;
    return;
  }
  for await (const { at, line, value, problem } of readJsonParts(path, { list: "models" })) {
    if (at === undefined) yield { line, problem: problem! };
    if (typeof at !== "number") continue;
    const message = problem ?? (isObject(value) ? modelProblem(value) : "must be an object");
    if (message) yield { name: labelOf(value, at), ...(problem ? { line } : {}), problem: message };
    else yield { model: toModel(vendor.trim(), value as unknown as RawModel) };
  }
}

/** Returns the vendor of a file, wherever it appears, or the problem with the whole file. */
async function vendorOf(path: string): Promise<string | { line?: number; problem: string }> {
  if ((await topOf(path)) === "[") return { problem: "must contain an object with vendor and models" };
  let vendor: unknown;
  let hasModels = false;
  for await (const { at, line, value, problem } of readJsonParts(path, { list: "models" })) {
    if (at === undefined) return { line, problem: problem! };
    if (at === "vendor") vendor = value;
    if (at === "models" && value !== undefined) break;
    hasModels ||= at === "models" || typeof at === "number";
    if (hasModels && vendor !== undefined) break;
  }
  const problem = textProblem("vendor", vendor) ?? (hasModels ? undefined : "models must be a list");
  return problem ? { problem } : (vendor as string);
}

interface RawModel {
  id: string;
  name: string;
  price_history: {
    input: number;
    output: number;
    input_cached?: number | null;
    reasoning?: number | null;
    from_date?: string | null;
    to_date?: string | null;
  }[];
}

function toModel(vendor: string, raw: RawModel): Model {
  return {
    vendor,
    id: raw.id.trim(),
    name: raw.name.trim(),
    priceHistory: raw.price_history
      .map((price) => ({
        input: price.input,
        output: price.output,
        inputCached: price.input_cached ?? null,
        reasoning: price.reasoning ?? null,
        from: price.from_date ?? null,
        to: price.to_date ?? null,
      }))
      .sort((a, b) => (a.from ?? "").localeCompare(b.from ?? "")),
  };
}

function modelProblem(model: Record<string, unknown>): string | undefined {
  const problem = textProblem("id", model.id) ?? textProblem("name", model.name);
  if (problem) return problem;
  if (!Array.isArray(model.price_history)) return "price_history must be a list";
  for (const [index, price] of model.price_history.entries()) {
    const message = isObject(price) ? priceProblem(price) : "must be an object";
    if (message) return `price_history[${index}] ${message}`;
  }
  return undefined;
}

function priceProblem(price: Record<string, unknown>): string | undefined {
  for (const key of ["input", "output", "input_cached", "reasoning"]) {
    const value = price[key] ?? null;
    const missing = value === null && (key === "input" || key === "output");
    if (missing || (value !== null && !(typeof value === "number" && Number.isFinite(value) && value >= 0)))
      return `${key} must be a number of 0 or more`;
  }
  for (const key of ["from_date", "to_date"]) {
    const value = price[key] ?? null;
    if (value !== null && !isDate(value)) return `${key} must be a date such as 2026-01-31, or null`;
  }
  const { from_date: from, to_date: to } = price;
  return typeof from === "string" && typeof to === "string" && from >= to
    ? "must end after it begins"
    : undefined;
}

function textProblem(key: string, value: unknown): string | undefined {
  if (typeof value !== "string" || !value.trim()) return `${key} must be non-empty text`;
  const problem = unstorable(value);
  return problem && `${key} ${problem}`;
}

/** Whether a value is a valid YYYY-MM-DD date. Date turns 2026-02-30 into a day in March, which the comparison detects. */
function isDate(value: unknown): boolean {
  if (typeof value !== "string" || !/^\d{4}-\d{2}-\d{2}$/.test(value)) return false;
  const date = new Date(`${value}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(value);
}

function labelOf(entry: unknown, index: number): string {
  const id = isObject(entry) && typeof entry.id === "string" ? ` ${entry.id}` : "";
  return `models[${index}]${id}`;
}
