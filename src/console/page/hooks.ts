import { PlinthClientError, type Readable } from "plinth/client";
import { useSyncExternalStore } from "preact/compat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { client, messageOf } from "./client.ts";
import { SYSTEM, type System } from "./operations.ts";

const REFRESH_MS = 30_000;

/** A value of the client that changes, such as its session. */
export function useReadable<T>(readable: Readable<T>): T {
  return useSyncExternalStore(readable.subscribe, () => readable.current);
}

export interface SystemReading {
  /** The parts of the last answer; panels that failed keep their former numbers. */
  readonly data: Partial<System>;
  /** Messages by field of the last answer. */
  readonly errors: Readonly<Record<string, string>>;
  /** Days of the shown numbers, which differ from the chosen ones until the answer arrives. */
  readonly days: number;
  readonly isLoading: boolean;
  refresh(): void;
}

/** Reads the system now and every 30 seconds, except while the tab is hidden or an answer is awaited. */
export function useSystem(days: number, onForbidden: () => void): SystemReading {
  const [reading, setReading] = useState<Omit<SystemReading, "isLoading" | "refresh">>({
    data: {},
    errors: {},
    days,
  });
  const [isLoading, setLoading] = useState(true);
  const latest = useRef(0);
  const readAt = useRef(0);
  const answered = useRef(0);

  const refresh = useCallback(() => {
    const turn = ++latest.current;
    readAt.current = Date.now();
    setLoading(true);
    const show = (data: Partial<System>, errors: Readonly<Record<string, string>>) => {
      // Another period was chosen meanwhile.
      if (turn !== latest.current) return;
      setReading((before) => ({
        data: { ...(before.days === days ? before.data : {}), ...data },
        errors,
        days,
      }));
      answered.current = turn;
      setLoading(false);
    };
    client.request(SYSTEM, { days }).then(
      (data) => show(data, {}),
      (error: unknown) => {
        show(...partsOf(error));
        if (error instanceof PlinthClientError && error.code === "FORBIDDEN") onForbidden();
      },
    );
  }, [days, onForbidden]);

  useEffect(() => {
    refresh();
    const isStale = () =>
      answered.current === latest.current && Date.now() - readAt.current >= REFRESH_MS - 1_000;
    const refreshIfShown = () => {
      if (!document.hidden && isStale()) refresh();
    };
    const timer = setInterval(refreshIfShown, REFRESH_MS);
    document.addEventListener("visibilitychange", refreshIfShown);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", refreshIfShown);
    };
  }, [refresh]);

  return { ...reading, isLoading, refresh };
}

/** The fields of an answer that succeeded, and a message for each that failed. */
function partsOf(error: unknown): [data: Partial<System>, errors: Readonly<Record<string, string>>] {
  if (!(error instanceof PlinthClientError) || !error.errors.some(({ path }) => path))
    return [{}, { all: messageOf(error) }];
  const data = Object.entries((error.data ?? {}) as System).filter(([, value]) => value !== null);
  const errors = error.errors.map((each) => [
    String(each.path?.[0] ?? "all"),
    messageOf(PlinthClientError.of([each])),
  ]);
  return [Object.fromEntries(data) as Partial<System>, Object.fromEntries(errors)];
}

/** Handles a form in the page, whose fields it keeps after an error. Says whether it is at work, and what went wrong. */
export function useForm(handle: (values: Readonly<Record<string, string>>) => Promise<unknown>) {
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const run = async (work: () => Promise<unknown>): Promise<void> => {
    setBusy(true);
    setProblem("");
    try {
      await work();
    } catch (error) {
      setProblem(messageOf(error));
    } finally {
      setBusy(false);
    }
  };
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.currentTarget as HTMLFormElement));
    void run(() => handle(values as Record<string, string>));
  };
  return { isBusy, problem, onSubmit, run };
}
