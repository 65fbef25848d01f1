import "graphile-build-pg";
import { type Step, UnbatchedStep } from "grafast";
import type { LiveItem, Reading } from "../../src/live/live-source.ts";

/** Returns the reading for the subscription and the answer's own fields. */
export type Report<TFound extends readonly unknown[]> = (
  item: LiveItem,
  ...found: TFound
) => { reading: Reading; answer: object };

/**
 * An answer of a subscription: depends on the values read, reports them to the subscription and keeps the steps that
 * fields of the answer continue from. (A side effect would prevent Grafast from reading rows and relations in one statement.)
 */
export class ReadingStep<
  TFound extends readonly unknown[] = readonly unknown[],
> extends UnbatchedStep<object> {
  static override $$export = { moduleName: "plinth", exportName: "ReadingStep" };
  override isSyncAndSafe = false;
  readonly #report: Report<TFound>;
  readonly #foundCount: number;
  readonly #kept: ReadonlyMap<string, number>;

  /**
   * @param $item the batch
   * @param found steps whose values are passed to `report`
   * @param kept steps by the name that fields use to find them
   */
  constructor(
    $item: Step,
    found: readonly Step[],
    kept: Readonly<Record<string, Step>>,
    report: Report<TFound>,
  ) {
    super();
    this.addDependency($item);
    for (const $found of found) this.addDependency($found);
    this.#foundCount = found.length;
    this.#kept = new Map(Object.entries(kept).map(([name, $step]) => [name, this.addDependency($step)]));
    this.#report = report;
  }

  /** The step kept under a name. */
  kept(name: string): Step {
    return this.getDep(this.#kept.get(name)!);
  }

  override unbatchedExecute(_extra: unknown, item: LiveItem, ...values: unknown[]): object {
    const found = values.slice(0, this.#foundCount) as unknown as TFound;
    const { reading, answer } = this.#report(item, ...found);
    item.subscription.report(reading);
    return answer;
  }
}

/** The plan of a field that continues from a kept step. */
export function keptStep(name: string) {
  return ($reading: ReadingStep): Step => $reading.kept(name);
}
