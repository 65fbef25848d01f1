/** Keeps the session between visits: `localStorage`, `sessionStorage`, or an object of your own with these methods. */
export interface TokenStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** Keeps the session until the page or process ends. */
export function memoryStorage(): TokenStorage {
  const values = new Map<string, string>();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => void values.set(key, value),
    removeItem: (key) => void values.delete(key),
  };
}

/** `localStorage` in a page; undefined in Node, in workers, and where the user blocks it. */
export function localStorageOfPage(): TokenStorage | undefined {
  // Node 24 has `localStorage` too, but warns when it is used.
  if (!("document" in globalThis)) return undefined;
  try {
    return (globalThis as { localStorage?: TokenStorage }).localStorage;
  } catch {
    return undefined;
  }
}

/** The part of a session that survives the page. */
export interface StoredSession {
  readonly refreshToken: string;
  readonly userId: string;
  /** Changes with each refresh. Tabs name it to each other, so that they need not send the refresh token. */
  readonly version: string;
}

export function readStored(storage: TokenStorage, key: string): StoredSession | undefined {
  try {
    return JSON.parse(storage.getItem(key) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}
