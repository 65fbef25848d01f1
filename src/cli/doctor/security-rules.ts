import { type CheckGroup, type DoctorContext, type Finding, ok, skipped, warn } from "./check.ts";

/** Attempts an hour above which a limit per account, or per address, is too weak. */
const MOST_PER_ACCOUNT = 120;
const MOST_PER_ADDRESS = 6_000;
/** A threshold above which an attack on an account or from an address is unlikely to be detected. */
const HIGHEST_THRESHOLD = 1_000;

/** Checks the rate limits and the rules for suspicious activity: both are data, so an administrator can turn them off. */
export const checkSecurityRules: CheckGroup = async (context) =>
  context.role === "owner"
    ? [await checkRateLimits(context), await checkSuspicion(context)]
    : [skipped("security-rules", "Only the owner can read the security rules (PLINTH_OWNER_URL).")];

async function checkRateLimits({ client }: DoctorContext): Promise<Finding> {
  const check = "rate-limit-rules";
  const { rows } = await client.query<{ name: string; enabled: boolean; per_hour: number }>(
    `select
       rule_name as name,
       is_enabled as enabled,
       round(limit_value * 3600 / extract(epoch from window_length))::float8 as per_hour
     from security.rate_limit_rules
     order by 1`,
  );
  const weak = rows.flatMap(({ name, enabled, per_hour }) => {
    if (!enabled) return [`${name}: switched off`];
    const most = name.endsWith("_per_account") ? MOST_PER_ACCOUNT : MOST_PER_ADDRESS;
    return per_hour > most ? [`${name}: allows ${per_hour} an hour`] : [];
  });
  return weak.length === 0
    ? ok(check, `${rows.length} rate limits are on.`)
    : warn(
        check,
        "Some rate limits are off or too weak.",
        "update security.rate_limit_rules set is_enabled = true, limit_value = … (as the owner, or with manage_security).",
        weak,
      );
}

async function checkSuspicion({ client }: DoctorContext): Promise<Finding> {
  const check = "suspicious-activity-rules";
  const { rows } = await client.query<{ name: string; enabled: boolean; threshold: number }>(
    `select rule_name as name, is_enabled as enabled, threshold
     from security.suspicious_activity_rules
     order by 1`,
  );
  const weak = rows.flatMap(({ name, enabled, threshold }) => {
    if (!enabled) return [`${name}: switched off`];
    return threshold > HIGHEST_THRESHOLD ? [`${name}: threshold is ${threshold}`] : [];
  });
  return weak.length === 0
    ? ok(check, `${rows.length} rules for suspicious activity are on.`)
    : warn(
        check,
        "Some rules for suspicious activity are off or too weak.",
        "update security.suspicious_activity_rules set is_enabled = true, threshold = … (as the owner, or with manage_security).",
        weak,
      );
}
