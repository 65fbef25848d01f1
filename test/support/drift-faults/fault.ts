/** A change by hand that `plinth doctor` must name, alone. */
export interface Fault {
  readonly title: string;
  readonly sql: string;
  /** The role that can make the change; the owner if omitted. */
  readonly by?: "an administrator" | "a superuser";
  /** Status, check and details of all findings that are not "ok". */
  readonly findings: readonly (readonly [status: "fail" | "warn", check: string, ...details: string[]])[];
}
