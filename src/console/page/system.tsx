import { formatAgo, formatBytes, formatDuration, formatNumber, formatTime } from "./formats.ts";
import { Histories } from "./histories.tsx";
import { type SystemReading, useSystem } from "./hooks.ts";
import type { SystemState } from "./operations.ts";
import { type Bar, Bars, Panel } from "./panel.tsx";
import { sum } from "./series.ts";
import { Table } from "./table.tsx";

export function System({ days, onForbidden }: { days: number; onForbidden: () => void }) {
  const reading = useSystem(days, onForbidden);
  return (
    <>
      <Status {...reading} />
      <div class={`panels ${reading.days === days ? "" : "former"}`}>
        <Histories {...reading} />
        <Jobs {...reading} />
        <Partitions {...reading} />
        <Database {...reading} />
      </div>
    </>
  );
}

/** Whether the system is healthy, or what is wrong and what to do. */
function Status({ data, errors, isLoading, refresh }: SystemReading) {
  const state = data.systemState;
  const findings = state?.findings?.filter((finding) => finding !== null) ?? [];
  const problem = errors.all ?? errors.systemState;
  const level =
    !state || problem
      ? "unknown"
      : findings.some(isCritical)
        ? "critical"
        : findings.length > 0
          ? "warning"
          : "good";
  return (
    <section class={`status ${level}`} aria-label="State of the system">
      <div class="summary">
        <p role="status">
          <span class="dot" aria-hidden="true" />
          {problem
            ? state
              ? "Not up to date"
              : "State unknown"
            : state
              ? findings.length === 0
                ? "Healthy"
                : `${findings.length} ${findings.length === 1 ? "thing needs" : "things need"} attention`
              : "Loading the state …"}
        </p>
        {state && <Facts state={state} />}
        <button type="button" onClick={refresh} disabled={isLoading}>
          {isLoading ? "Loading …" : "Refresh"}
        </button>
      </div>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {findings.length > 0 && (
        <ul class="findings">
          {findings.map(({ severity, area, problem: fault, remedy }) => (
            <li key={`${area} ${fault}`}>
              <span class={`chip ${severity}`}>{severity}</span>
              <b>{fault}</b> <span>{remedy}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const isCritical = ({ severity }: { severity: string | null }) => severity === "critical";

function Facts({ state }: { state: SystemState }) {
  return (
    <dl class="facts">
      <div>
        <dt>Database</dt>
        <dd>{formatBytes(Number(state.databaseBytes))}</dd>
      </div>
      <div>
        <dt>Connections</dt>
        <dd>
          {formatNumber(state.connections ?? 0)} of {formatNumber(state.connectionsLimit ?? 0)}
        </dd>
      </div>
      <div>
        <dt>Waiting emails</dt>
        <dd>{formatNumber(Number(state.waitingEmails))}</dd>
      </div>
      <div>
        <dt>Updated</dt>
        <dd>{formatTime(state.observedAt ?? "")}</dd>
      </div>
    </dl>
  );
}

function Jobs({ data, errors }: SystemReading) {
  const queues = data.systemState?.queues?.filter((queue) => queue !== null) ?? [];
  const countOf = (queue: (typeof queues)[number]) =>
    Number(queue.waiting) + Number(queue.active) + Number(queue.failed);
  const busy = queues.filter((queue) => countOf(queue) > 0).sort((a, b) => countOf(b) - countOf(a));
  const most = Math.max(1, ...busy.map(countOf));
  const failed = sum(queues.map((queue) => Number(queue.failed)));
  const last =
    queues
      .flatMap(({ succeededAt }) => succeededAt ?? [])
      .sort()
      .at(-1) ?? null;
  return (
    <Panel
      title="Jobs"
      error={errors.systemState}
      isEmpty={!data.systemState}
      figure={[
        formatNumber(failed),
        last === null ? "failed; no success yet" : `failed; last success ${formatAgo(last)}`,
      ]}
      plot={() =>
        busy.length === 0 ? (
          <p class="nothing">No jobs are waiting, running or failed.</p>
        ) : (
          <Bars
            bars={busy.slice(0, 8).map((queue) => ({
              name: queue.queue ?? "",
              value: countOf(queue),
              max: most,
              text: [
                [Number(queue.waiting), "waiting"],
                [Number(queue.active), "active"],
                [Number(queue.failed), "failed"],
              ]
                .flatMap(([count, what]) => (count ? `${formatNumber(Number(count))} ${what}` : []))
                .join(", "),
              state:
                Number(queue.failed) > 0 ? "warning" : (queue.oldestSeconds ?? 0) > 900 ? "critical" : "good",
            }))}
          />
        )
      }
      table={() => (
        <Table
          label="Jobs"
          columns={["Job", "Waiting", "Active", "Failed", "Oldest", "Last success"]}
          rows={queues.map(({ queue, waiting, active, failed: failures, oldestSeconds, succeededAt }) => [
            queue,
            formatNumber(Number(waiting)),
            formatNumber(Number(active)),
            formatNumber(Number(failures)),
            oldestSeconds === null ? "none" : formatDuration(oldestSeconds),
            formatAgo(succeededAt),
          ])}
        />
      )}
    />
  );
}

function Partitions({ data, errors }: SystemReading) {
  const logs = data.systemState?.logs?.filter((log) => log !== null) ?? [];
  const months = logs.map(({ monthsAhead }) => monthsAhead ?? 0);
  const unit = (value: number) => `${value} ${value === 1 ? "month" : "months"}`;
  return (
    <Panel
      title="Partitions ahead"
      error={errors.systemState}
      isEmpty={!data.systemState}
      figure={[unit(Math.min(12, ...months)), "at least"]}
      plot={() => (
        <Bars
          bars={logs.map(({ log, monthsAhead }) => ({
            name: log ?? "",
            value: monthsAhead ?? 0,
            max: Math.max(3, ...months),
            text: unit(monthsAhead ?? 0),
            state: (monthsAhead ?? 0) < 1 ? "critical" : "good",
          }))}
        />
      )}
      table={() => (
        <Table
          label="Partitions ahead"
          columns={["Log", "Months"]}
          rows={logs.map(({ log, monthsAhead }) => [log, String(monthsAhead)])}
        />
      )}
    />
  );
}

/** The limits are those from which the state counts as a fault. */
function Database({ data, errors }: SystemReading) {
  const state = data.systemState;
  const bars = state ? limitsOf(state) : [];
  return (
    <Panel
      title="Database and replication"
      error={errors.systemState}
      isEmpty={!state}
      figure={[formatNumber(state?.replicas ?? 0), state?.replicas === 1 ? "replica" : "replicas"]}
      plot={() => (
        <>
          <Bars bars={bars} />
          {!state!.hasAllSessions && (
            <p class="note">
              Sessions and replicas of other roles are not counted. Grant pg_read_all_stats to the owner.
            </p>
          )}
        </>
      )}
      table={() => (
        <Table
          label="Database and replication"
          columns={["Measure", "Now"]}
          rows={[
            ...bars.map(({ name, text }) => [name, text]),
            ["Size", formatBytes(Number(state!.databaseBytes))],
            ["Sessions that wait for a lock", formatNumber(state!.waitingForLocks ?? 0)],
            ["Replication slots without a connection", formatNumber(state!.inactiveSlots ?? 0)],
            [
              "WAL archive",
              state!.isArchiveFailing ? "failing" : state!.isArchiveFailing === null ? "not used" : "working",
            ],
          ]}
        />
      )}
    />
  );
}

function limitsOf(state: SystemState): Bar[] {
  const bar = (name: string, value: number, limit: number, text: string): Bar => ({
    name,
    value,
    max: limit,
    text,
    state: value > limit ? "warning" : "good",
  });
  const limit = state.connectionsLimit ?? 1;
  return [
    {
      ...bar("Connections", state.connections ?? 0, limit, `${state.connections} of ${limit}`),
      state: (state.connections ?? 0) > 0.8 * limit ? "warning" : "good",
    },
    bar(
      "Oldest transaction",
      state.oldestTransactionSeconds ?? 0,
      1_800,
      formatDuration(state.oldestTransactionSeconds ?? 0),
    ),
    bar(
      "Replica behind",
      Number(state.replicaLagSeconds),
      60,
      state.replicas
        ? `${formatDuration(Number(state.replicaLagSeconds))}, ${formatBytes(Number(state.replicaLagBytes))}`
        : "no replica",
    ),
    bar("WAL held by slots", Number(state.slotBytes), 1e9, formatBytes(Number(state.slotBytes))),
  ];
}
