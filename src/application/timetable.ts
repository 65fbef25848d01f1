import { type JobDefinition, TIMETABLE } from "../jobs/index.ts";
import type { Application } from "./application.ts";
import { type ModuleName, moduleOfJob, withoutModules } from "./modules.ts";

/** The jobs of a worker: Plinth's without those of modules that are left out, and the application's. */
export function timetableOf(
  { jobs = [] }: Pick<Application, "jobs">,
  leftOut: ReadonlySet<ModuleName> = new Set(),
): readonly JobDefinition[] {
  return [...withoutModules(leftOut, TIMETABLE, ({ name }) => moduleOfJob(name)), ...jobs];
}
