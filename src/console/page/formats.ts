// Every number and time of the console, in the language and time zone of the browser. Days of histories are those of UTC.

const number = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
// Hours begin at those of UTC: in India at half past.
const minute = new Date().getTimezoneOffset() % 60 === 0 ? undefined : "2-digit";
const hour = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const longDay = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  timeZone: "UTC",
});
const longHour = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "numeric", minute });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

export const formatNumber = (value: number): string => number.format(value);
export const formatCompact = (value: number): string => compact.format(value);
export const formatPercent = (value: number): string => percent.format(value);
export const formatDateTime = (at: string | null): string => (at ? dateTime.format(new Date(at)) : "never");
export const formatTime = (at: string): string => time.format(new Date(at));

/** A bucket of a history: an hour, or a day of UTC. */
export const formatBucket = (seconds: number, days: number): string =>
  (days === 1 ? hour : day).format(seconds * 1_000);
export const formatLongBucket = (seconds: number, days: number): string =>
  (days === 1 ? longHour : longDay).format(seconds * 1_000);

export function formatMoney(currency: string, isShort = false): (value: number) => string {
  const money = { style: "currency", currency, currencyDisplay: "narrowSymbol" } as const;
  const format = new Intl.NumberFormat(undefined, {
    ...money,
    ...(isShort && { notation: "compact", maximumFractionDigits: 1 }),
  });
  // A model may cost less than the smallest coin.
  const small = new Intl.NumberFormat(undefined, { ...money, maximumSignificantDigits: 2 });
  return (value) => (value > 0 && value < 1 ? small : format).format(value);
}

const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function formatBytes(bytes: number): string {
  const step = Math.min(BYTES.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return new Intl.NumberFormat(undefined, {
    style: "unit",
    unit: BYTES[step]!,
    maximumFractionDigits: 1,
  }).format(bytes / 1_000 ** step);
}

const SPANS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
] as const;

const spanOf = (seconds: number) => SPANS.find(([, length]) => Math.abs(seconds) >= length) ?? SPANS[3];

export function formatDuration(seconds: number): string {
  const [unit, length] = spanOf(seconds);
  return new Intl.NumberFormat(undefined, {
    style: "unit",
    unit,
    unitDisplay: "short",
    maximumFractionDigits: 0,
  }).format(seconds / length);
}

export function formatAgo(at: string | null): string {
  if (at === null) return "never";
  const seconds = (Date.parse(at) - Date.now()) / 1_000;
  const [unit, length] = spanOf(seconds);
  return relative.format(Math.round(seconds / length), unit);
}
