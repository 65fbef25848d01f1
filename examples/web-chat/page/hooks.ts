import type { Readable, TypedDocument } from "plinth/client";
import { useSyncExternalStore } from "preact/compat";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { report } from "./notice.ts";
import { client } from "./plinth.ts";

/** A value of the client that changes, such as its session. */
export function useReadable<T>(readable: Readable<T>): T {
  return useSyncExternalStore(readable.subscribe, () => readable.current);
}

/** The result of a query without variables, and a function that repeats it. */
export function useQuery<Result>(
  document: TypedDocument<Result, Record<string, never>>,
): [Result | undefined, () => void] {
  const [result, setResult] = useState<Result>();
  const load = useCallback(() => {
    client.request(document).then(setResult, report);
  }, [document]);
  useEffect(load, [load]);
  return [result, load];
}

/** Subscribes while the component is shown; not yet if the variables are undefined. */
export function useSubscription<Result, Variables>(
  document: TypedDocument<Result, Variables>,
  variables: Variables | undefined,
  onResult: (result: Result) => void,
): void {
  const latest = useRef(onResult);
  latest.current = onResult;
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (key === undefined) return;
    const stop = new AbortController();
    const read = async () => {
      const results = client.subscribe<Result>(String(document), JSON.parse(key), { signal: stop.signal });
      for await (const result of results) latest.current(result);
    };
    read().catch(report);
    return () => stop.abort();
  }, [document, key]);
}

/** Handles a form in the page. Its fields are emptied afterwards, and kept after an error. */
export function submit(handle: (values: Readonly<Record<string, string>>) => Promise<unknown>) {
  return async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const values = Object.fromEntries(new FormData(form, event.submitter)) as Record<string, string>;
    try {
      await handle(values);
      form.reset();
    } catch (error) {
      report(error);
    }
  };
}
