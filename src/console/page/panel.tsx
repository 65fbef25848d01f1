import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { formatLongBucket } from "./formats.ts";
import { Plot } from "./plot.tsx";
import { type History, sum } from "./series.ts";
import { Table } from "./table.tsx";

interface PanelProps {
  readonly title: string;
  /** The number that matters most, and what it is. */
  readonly figure?: readonly [value: string, caption: string] | undefined;
  readonly error?: string | undefined;
  /** Whether the first numbers have not arrived yet. */
  readonly isEmpty: boolean;
  readonly plot: () => ComponentChildren;
  readonly table: () => ComponentChildren;
}

/** A plot with the table behind it. */
export function Panel({ title, figure, error, isEmpty, plot, table }: PanelProps) {
  const id = useId();
  const [isTable, setTable] = useState(false);
  return (
    <section class="panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        <button
          type="button"
          class="toggle"
          aria-pressed={isTable}
          aria-label={`${title} as table`}
          onClick={() => setTable(!isTable)}
        >
          as table
        </button>
      </header>
      {figure && (
        <p class="figure">
          <b>{figure[0]}</b> {figure[1]}
        </p>
      )}
      {error && (
        <p class="problem" role="alert">
          {error}
        </p>
      )}
      {isEmpty ? !error && <div class="skeleton" aria-hidden="true" /> : isTable ? table() : plot()}
    </section>
  );
}

/** A panel of values over time. */
export function HistoryPanel({
  history,
  isStacked = true,
  nothing,
  ...rest
}: Pick<PanelProps, "title" | "figure" | "error"> & {
  readonly history: History | undefined;
  readonly isStacked?: boolean;
  /** A sentence for when all values are zero. */
  readonly nothing: string;
}) {
  const hasValues = history?.series.some(({ values }) => sum(values) !== 0);
  return (
    <Panel
      {...rest}
      figure={hasValues ? rest.figure : undefined}
      isEmpty={!history}
      plot={() =>
        hasValues ? (
          <Plot history={history!} isStacked={isStacked} title={rest.title} />
        ) : (
          <p class="nothing">{nothing}</p>
        )
      }
      table={() => <HistoryTable title={rest.title} history={history!} />}
    />
  );
}

function HistoryTable({ title, history }: { title: string; history: History }) {
  const { at, days, series, format } = history;
  const rows = at.map((seconds, bucket) => [
    formatLongBucket(seconds, days),
    ...series.map(({ values }) => format(values[bucket]!)),
  ]);
  return (
    <Table
      label={title}
      columns={[days === 1 ? "Hour" : "Day (UTC)", ...series.map(({ name }) => name)]}
      rows={rows.reverse()}
    />
  );
}

export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly max: number;
  readonly text: string;
  readonly state?: "good" | "warning" | "critical";
}

/** Bars of one value each, such as of the jobs. */
export function Bars({ bars }: { bars: readonly Bar[] }) {
  return (
    <ul class="bars">
      {bars.map(({ name, value, max, text, state = "good" }) => (
        <li key={name}>
          <span class="name">{name}</span>
          <span class="track" aria-hidden="true">
            <span
              class={`bar ${state}`}
              style={{ width: `${Math.min(100, (100 * value) / max)}%`, minWidth: value > 0 ? "2px" : 0 }}
            />
          </span>
          <span class="value">{text}</span>
        </li>
      ))}
    </ul>
  );
}
