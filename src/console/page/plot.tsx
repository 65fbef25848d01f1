import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { formatBucket, formatLongBucket } from "./formats.ts";
import { describe, type History, sum } from "./series.ts";

/** Bars that are stacked, or lines. Values under the pointer are shown in the legend; the panel's table has all of them. */
export function Plot({ history, isStacked, title }: { history: History; isStacked: boolean; title: string }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const [hovered, setHovered] = useState<number>();
  const theme = useTheme();
  const { at, days, series } = history;
  const shape = `${theme} ${days} ${at.length} ${series.map(({ name }) => name).join()}`;
  const latest = useRef(history);
  latest.current = history;

  // Another shape needs another plot; other values do not.
  useLayoutEffect(() => {
    const element = place.current!;
    const size = () => ({ width: Math.max(200, element.clientWidth), height: element.clientHeight });
    const created = new uPlot(
      optionsOf(() => latest.current, isStacked, size(), element, setHovered),
      dataOf(history, isStacked),
      element,
    );
    plot.current = created;
    const observer = new ResizeObserver(() => created.setSize(size()));
    observer.observe(element);
    return () => {
      observer.disconnect();
      created.destroy();
      setHovered(undefined);
    };
  }, [shape, isStacked]);

  useEffect(() => {
    plot.current?.setData(dataOf(history, isStacked));
  }, [history, isStacked]);

  return (
    <>
      <div class="plot" ref={place} role="img" aria-label={`${title}. ${describe(history, isStacked)}`} />
      <ul class="legend">
        {series.map(({ name, color, values }) => (
          <li key={name}>
            <span class={`swatch series-${color}`} />
            {name}{" "}
            <b>{history.format(hovered === undefined ? shown(values, isStacked) : values[hovered]!)}</b>
          </li>
        ))}
        <li class="when">
          {hovered === undefined ? (isStacked ? "total" : "latest") : formatLongBucket(at[hovered]!, days)}
        </li>
      </ul>
    </>
  );
}

const shown = (values: readonly number[], isStacked: boolean) =>
  isStacked ? sum(values) : (values.at(-1) ?? 0);

/** Of stacked series, the sums: the first one is drawn first and is the highest. */
function dataOf({ at, series }: History, isStacked: boolean): uPlot.AlignedData {
  const values = series.map((each) => [...each.values]);
  if (!isStacked) return [[...at], ...values];
  const sums = values.map((_, top) =>
    at.map((_, bucket) => sum(values.slice(0, top + 1).map((each) => each[bucket]!))),
  );
  return [[...at], ...sums.reverse()];
}

function optionsOf(
  history: () => History,
  isStacked: boolean,
  size: { readonly width: number; readonly height: number },
  element: HTMLElement,
  onHover: (bucket: number | undefined) => void,
): uPlot.Options {
  const { at, days, series } = history();
  const styles = getComputedStyle(element);
  const color = (name: string) => styles.getPropertyValue(`--${name}`).trim();
  const step = at.length > 1 ? at[1]! - at[0]! : 86_400;
  const axis: uPlot.Axis = {
    stroke: color("muted"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: color("grid"), width: 1 },
    ticks: { show: false },
  };
  const drawn = series.map(({ name, color: number }): uPlot.Series => {
    const stroke = color(`series-${number}`);
    return isStacked
      ? {
          label: name,
          fill: stroke,
          width: 0,
          paths: uPlot.paths.bars!({ size: [0.72, 36], radius: 0.12 }),
          points: { show: false },
        }
      : {
          label: name,
          stroke,
          fill: `${stroke}24`,
          width: 2,
          points: { show: at.length < 10, fill: stroke },
        };
  });
  return {
    ...size,
    padding: [8, 14, 0, 0],
    legend: { show: false },
    tzDate: (seconds) =>
      days === 1 ? new Date(seconds * 1_000) : uPlot.tzDate(new Date(seconds * 1_000), "Etc/UTC"),
    cursor: { drag: { x: false, y: false }, y: false, points: { show: !isStacked } },
    scales: {
      x: { range: (_, min, max) => [min - step / 2, max + step / 2] },
      // From zero, and with a little room for the highest value; a whole unit at least.
      y: { range: (_, __, max) => [0, Math.max(1e-6, max) * 1.08] },
    },
    series: [{}, ...(isStacked ? drawn.reverse() : drawn)],
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 64,
        size: 28,
        incrs: days === 1 ? [3_600, 10_800, 21_600] : [1, 2, 3, 7, 14, 30].map((each) => each * 86_400),
        values: (_, splits) => splits.map((seconds) => formatBucket(seconds, days)),
      },
      {
        ...axis,
        size: 52,
        space: 36,
        ...(history().isCount && { incrs: WHOLE }),
        values: (_, splits) => splits.map((value) => history().formatShort(value)),
      },
    ],
    hooks: { setCursor: [({ cursor }) => onHover(cursor.idx ?? undefined)] },
  };
}

const WHOLE = Array.from({ length: 16 }, (_, power) => [1, 2, 5].map((each) => each * 10 ** power)).flat();

/** Changes with the system's colors, which a canvas does not follow by itself. */
function useTheme(): string {
  const [query] = useState(() => matchMedia("(prefers-color-scheme: dark)"));
  const [theme, setTheme] = useState(query.matches ? "dark" : "light");
  useEffect(() => {
    const update = () => setTheme(query.matches ? "dark" : "light");
    query.addEventListener("change", update);
    return () => query.removeEventListener("change", update);
  }, [query]);
  return theme;
}
