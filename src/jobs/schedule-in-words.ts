const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Returns a schedule of five cron fields (UTC) as a person would say it; unusual ones stay as they are. */
export function scheduleInWords(cron: string | undefined): string {
  if (cron === undefined) return "on demand";
  const [minute, hour, ...days] = cron.split(" ") as [string, string, ...string[]];
  const [, step] = /^\*\/(\d+)$/.exec(minute) ?? [];
  const isNumber = /^\d+$/;
  const [date, month, weekday] = days;
  if (date !== "*" || month !== "*" || weekday === undefined) return `\`${cron}\``;
  if (weekday === "*" && hour === "*") {
    if (minute === "*") return "every minute";
    if (step !== undefined && 60 % Number(step) === 0) return `every ${step} minutes`;
    if (isNumber.test(minute)) return `hourly at :${minute.padStart(2, "0")}`;
  }
  if (!isNumber.test(minute) || !isNumber.test(hour)) return `\`${cron}\``;
  const time = `${hour}:${minute.padStart(2, "0")}`;
  if (weekday === "*") return `daily at ${time}`;
  const day = DAYS[Number(weekday)];
  return day === undefined ? `\`${cron}\`` : `on ${day} at ${time}`;
}
