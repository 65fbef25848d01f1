import type { SystemMapping } from "./mapping.ts";

/** The systems that can be moved in, by their name on the command line. */
export const SYSTEMS: Readonly<Record<string, () => Promise<SystemMapping>>> = {
  "ai-training": async () => (await import("./ai_training/index.ts")).aiTraining,
  cedrina: async () => (await import("./cedrina/index.ts")).cedrina,
  "headphone-mode": async () => (await import("./headphone/index.ts")).headphone,
  rovertchat: async () => (await import("./rovertchat/index.ts")).rovertChat,
  socializer: async () => (await import("./socializer/index.ts")).socializer,
};
