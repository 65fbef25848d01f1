import { ACCESS } from "./access.ts";
import { BILLING } from "./billing.ts";
import { IDENTITY } from "./identity.ts";
import { LEARNING } from "./learning.ts";
import { LLM } from "./llm.ts";
import type { Probe } from "./probe.ts";
import { ROOMS } from "./rooms.ts";
import { SECURITY } from "./security.ts";

/** The probes of each table. */
export const PROBES: Readonly<Record<string, readonly Probe[]>> = {
  ...ACCESS,
  ...BILLING,
  ...IDENTITY,
  ...LEARNING,
  ...LLM,
  ...ROOMS,
  ...SECURITY,
};
