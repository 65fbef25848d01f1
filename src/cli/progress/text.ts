import type { Progress } from "../../support/progress.ts";

const BAR_WIDTH = 24;
const SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const SEPARATOR = " · ";
/** Before this, a rate says nothing. */
const FIRST_RATE_AFTER_SECONDS = 1;

/**
 * The line of a terminal: name, bar, percentage, counts, time left and rate, or a spinner and the time so far where the total is
 * unknown. In a narrow terminal, the last parts are omitted.
 * @param seconds since the step began
 * @param width number of columns; the line is never longer
 */
export function terminalLine(progress: Progress, seconds: number, width: number): string {
  const { step } = progress;
  const share = shareOf(progress);
  const head = share === undefined ? `${spinnerAt(seconds)} ${step}` : `${step} ${percent(share)}`;
  const withBar = share === undefined ? head : `${step} ${barOf(share)} ${percent(share)}`;
  const facts = factsOf(progress, seconds);
  const candidates = [
    ...facts.map((_, index) => [withBar, ...facts.slice(0, facts.length - index)].join(SEPARATOR)),
    withBar,
    head,
  ];
  return candidates.find((line) => line.length <= width) ?? head.slice(0, Math.max(0, width));
}

/** A line of a log: "Applying migrations: 12 of 27 (44 %), 5 s left, 3/s". */
export function logLine(progress: Progress, seconds: number): string {
  const share = shareOf(progress);
  const [counts, ...others] = factsOf(progress, seconds);
  const first = share === undefined ? counts : `${counts} (${percent(share)})`;
  return `${progress.step}: ${[first, ...others].join(", ")}`;
}

/** A single unit, such as the only migration, is either done or not: then a spinner says more than 0 %. */
function shareOf({ done = 0, total = 0 }: Progress): number | undefined {
  return total > 1 ? Math.min(1, done / total) : undefined;
}

function factsOf(progress: Progress, seconds: number): string[] {
  const { done = 0, total = 0 } = progress;
  const rate = seconds >= FIRST_RATE_AFTER_SECONDS ? done / seconds : 0;
  const left = total > 1 && rate > 0 ? Math.max(0, total - done) / rate : undefined;
  const rateText = `${quantity(rate, progress.unit === "bytes" ? "bytes" : undefined)}/s`;
  return [
    ...countsOf(progress),
    left === undefined ? duration(seconds) : `${duration(left)} left`,
    // Too slow for a decimal place.
    ...(/^0(\.0)?[ /]/.test(rateText) ? [] : [rateText]),
  ];
}

function countsOf({ done, total, unit }: Progress): string[] {
  if (done === undefined || total === 1) return [];
  if (!total) return [quantity(done, unit)];
  return [`${number(unit === "bytes" ? done / 1e6 : done)} of ${quantity(total, unit)}`];
}

function quantity(count: number, unit: string | undefined): string {
  if (unit === "bytes") return `${number(count / 1e6)} MB`;
  return unit === undefined ? number(count) : `${number(count)} ${unit}`;
}

/** With a decimal place where the number is small and not whole. */
function number(value: number): string {
  const digits = value < 10 && !Number.isInteger(value) ? 1 : 0;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function percent(share: number): string {
  return `${Math.floor(share * 100)} %`;
}

function barOf(share: number): string {
  const full = Math.round(share * BAR_WIDTH);
  return "█".repeat(full) + "░".repeat(BAR_WIDTH - full);
}

function spinnerAt(seconds: number): string {
  return SPINNER[Math.floor(seconds * 10) % SPINNER.length]!;
}

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
