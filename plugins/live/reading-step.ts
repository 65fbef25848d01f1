import "postgraphile";
import { type Step, UnbatchedStep } from "postgraphile/grafast";
import type { LiveItem, Reading } from "../../src/server/live/live-subscription.ts";

/**
 * One answer of a subscription: depends on what it read, reports it to the subscription and keeps the rows for the
 * fields of the answer. (A side effect would keep Grafast from reading rows and their relations in one statement.)
 */
export class ReadingStep<TFound = unknown, TAnswer extends object = object> extends UnbatchedStep<TAnswer> {
  static override $$export = { moduleName: "plinth", exportName: "ReadingStep" };
  override isSyncAndSafe = false;
  readonly #report: (item: LiveItem, found: TFound) => { reading: Reading; answer: TAnswer };
  readonly #rowsIndex: number;

  /**
   * @param $rows what fields of the answer go on from
   * @param $found what `report` needs to know of them
   */
  constructor(
    $item: Step,
    $rows: Step,
    $found: Step,
    report: (item: LiveItem, found: TFound) => { reading: Reading; answer: TAnswer },
  ) {
    super();
    this.addDependency($item);
    this.addDependency($found);
    this.#rowsIndex = this.addDependency($rows);
    this.#report = report;
  }

  rows<TStep extends Step>(): TStep {
    return this.getDep(this.#rowsIndex) as TStep;
  }

  override unbatchedExecute(_extra: unknown, item: LiveItem, found: TFound): TAnswer {
    const { reading, answer } = this.#report(item, found);
    item.subscription.report(reading);
    return answer;
  }
}
