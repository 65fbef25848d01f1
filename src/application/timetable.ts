import { type JobDefinition, TIMETABLE } from "../jobs/index.ts";
import type { Application } from "./application.ts";

/** The jobs of a worker: Plinth's and the application's. */
export function timetableOf({ jobs = [] }: Pick<Application, "jobs">): readonly JobDefinition[] {
  return [...TIMETABLE, ...jobs];
}
