import type { Command } from "commander";
import { print, printJson } from "../output.ts";
import { UsageError } from "../usage-error.ts";
import { accountId, asOwner } from "./account.ts";

interface HoldFlags {
  readonly json?: boolean;
  readonly reason?: string;
  readonly release?: boolean;
  readonly list?: boolean;
}

export function addHold(command: Command): void {
  command
    .command("hold")
    .argument("[user]", "username or id of the account")
    .description("place a legal hold on an account, or release it")
    .option("--reason <words>", "reason, such as the number of a case")
    .option("--release", "release the hold")
    .option("--list", "list the holds in force")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
While the hold is in force, no statement deletes the account. A deletion that its owner requested waits for the
release; the owner sees only that it takes longer. Needs the owner's URL.

Example:
  $ plinth privacy hold ada --reason "Case 4711"
  $ plinth privacy hold ada --release`,
    )
    .action(async (user: string | undefined, { reason, release, list, json }: HoldFlags) => {
      const holds = await import("../../privacy/legal-holds.ts");
      if (list) {
        const found = await asOwner(holds.listHolds);
        if (json) return printJson({ holds: found });
        if (found.length === 0) print("No account has a legal hold.");
        for (const { username, reason: why, placedAt } of found)
          print(`${username}  ${placedAt.toISOString()}  ${why}`);
        return;
      }
      if (user === undefined) throw new UsageError("Give a user or --list.");
      if ((reason === undefined) !== Boolean(release))
        throw new UsageError("Use either --reason or --release.");
      const id = await asOwner(async (client) => {
        const account = await accountId(client, user);
        return release ? holds.releaseHold(client, account) : holds.placeHold(client, account, reason!);
      });
      if (json) printJson({ id, user, held: !release });
      else
        print(
          release ? `${user} can be erased again.` : `${user} cannot be erased until the hold is released.`,
        );
    });
}
