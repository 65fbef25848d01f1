import {
  checkScheme,
  findScheme,
  type ImportedEmailAlgorithm,
  parseEmailAlgorithm,
  storeScheme,
} from "../../../auth/imported-email-hash.ts";
import { parseMasterKeys } from "../../../auth/master-keys.ts";
import { createSealer, type Sealer } from "../../../auth/sealing.ts";
import type { AnyStep, Means, SystemMapping } from "../mapping.ts";
import { preferencesStep, skillsStep, trainingStep, userSkillsStep } from "./learning.ts";
import { errorsStep, tokensStep } from "./logs.ts";
import { memoriesStep } from "./memories.ts";
import { generalChatStep, invitesStep, messagesStep } from "./messages.ts";
import { membersStep, readMarksStep, roomsStep, settledRoomsStep } from "./rooms.ts";
import { usersStep } from "./users.ts";

const SYSTEM = "socializer";

/** The twelve tables, of which three are read twice. */
const stepsOf = (options: {
  sealer: Sealer | undefined;
  emailAlgorithm: ImportedEmailAlgorithm | undefined;
  isAllowedEndpoint: (address: string) => boolean;
}): AnyStep[] => [
  usersStep(options),
  memoriesStep(options.sealer),
  tokensStep,
  errorsStep,
  skillsStep,
  trainingStep,
  userSkillsStep,
  preferencesStep,
  roomsStep,
  membersStep,
  settledRoomsStep,
  messagesStep,
  readMarksStep,
  generalChatStep,
  invitesStep,
];

export const socializer: SystemMapping = {
  system: SYSTEM,
  title: "Socializer",
  steps: stepsOf({ sealer: undefined, emailAlgorithm: undefined, isAllowedEndpoint: () => false }),
  async forRun({ masterKeys, isAllowedEndpoint, ...means }) {
    if (means.emailHash !== undefined) parseEmailAlgorithm(means.emailHash);
    const sealer = masterKeys === undefined ? undefined : createSealer(parseMasterKeys(masterKeys));
    const emailAlgorithm = sealer && (await prepareEmailScheme(sealer, means));
    return { ...socializer, steps: stepsOf({ sealer, emailAlgorithm, isAllowedEndpoint }) };
  },
};

/** @returns the hash function of addresses, which this run or an earlier one named */
async function prepareEmailScheme(
  sealer: Sealer,
  { client, dryRun, emailHash, emailSalt }: Pick<Means, "client" | "dryRun" | "emailHash" | "emailSalt">,
): Promise<ImportedEmailAlgorithm | undefined> {
  const query = async (text: string, values: readonly unknown[]) =>
    (await client.query(text, [...values])).rows;
  const stored = await findScheme(sealer, query);
  if (emailHash === undefined) return stored?.system === SYSTEM ? stored.algorithm : undefined;
  const scheme = { system: SYSTEM, algorithm: parseEmailAlgorithm(emailHash), salt: emailSalt };
  checkScheme(scheme, stored);
  if (stored === undefined && !dryRun) await storeScheme(sealer, query, scheme);
  return scheme.algorithm;
}
