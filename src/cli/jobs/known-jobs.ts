import type { Application } from "../../application/application.ts";
import { leftOutModules, moduleOfJob } from "../../application/modules.ts";
import { timetableOf } from "../../application/timetable.ts";
import type { Config } from "../../config/config.ts";
import type { JobDefinition } from "../../jobs/job.ts";
import { PlinthError } from "../../support/errors.ts";
import { printable } from "../output.ts";

/** The jobs that workers of these settings run, and those that they leave out. */
export interface KnownJobs {
  readonly timetable: readonly JobDefinition[];
  /** Names of the application's own. */
  readonly ofApplication: ReadonlySet<string>;
  /** @throws PlinthError JOB_LEFT_OUT, JOB_UNKNOWN with similar names */
  find(name: string): JobDefinition;
}

export function knownJobs(config: Config, application: Application): KnownJobs {
  const timetable = timetableOf(application, leftOutModules(application.modules ?? config.modules));
  return {
    timetable,
    ofApplication: new Set(application.jobs?.map(({ name }) => name)),
    find(name) {
      const job = timetable.find((each) => each.name === name);
      if (job) return job;
      if (timetableOf(application).some((each) => each.name === name))
        throw new PlinthError(
          "JOB_LEFT_OUT",
          `The job ${name} belongs to the module ${moduleOfJob(name)}, which is left out here.`,
          { hint: "Add the module to plinth.config or PLINTH_MODULES." },
        );
      const similar = similarNames(
        name,
        timetable.map((each) => each.name),
      );
      throw new PlinthError("JOB_UNKNOWN", `The job ${printable(name)} does not exist.`, {
        hint:
          similar.length > 0
            ? `Did you mean ${similar.join(" or ")}?`
            : "plinth jobs lists the names of all jobs.",
      });
    },
  };
}

/** Returns up to three names that contain the given one, share words with it, or differ in few letters. */
function similarNames(name: string, names: readonly string[]): string[] {
  const wanted = name.toLowerCase();
  const words = wanted.split(/[^a-z0-9]+/).filter((word) => word.length > 3);
  return names
    .map((each) => {
      const shared = words.filter((word) => each.includes(word)).length;
      return { each, distance: distance(wanted, each), shared };
    })
    .filter(({ distance, shared }) => distance <= 3 || (words.length > 0 && shared === words.length))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ each }) => each);
}

/** The number of letters to insert, delete or replace (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries())
      next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + (letter === other ? 0 : 1)));
    row = next;
  }
  return row.at(-1)!;
}
