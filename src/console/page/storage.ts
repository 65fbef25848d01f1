import type { TokenStorage } from "plinth/client";

const TAB = "plinth console tab";

/**
 * The storage of the tab, without what it was copied from: a duplicated tab begins with a copy, and a refresh token that two tabs
 * use ends the session as stolen. A lock shows whether the tab that it was copied from is still open. Browsers have locks only
 * with HTTPS and on localhost.
 */
export async function storageOfThisTab(): Promise<TokenStorage> {
  if (!("locks" in navigator)) return sessionStorage;
  let tab = sessionStorage.getItem(TAB);
  if (tab !== null && !(await hold(tab))) {
    for (const key of Object.keys(sessionStorage))
      if (key.startsWith("plinth ")) sessionStorage.removeItem(key);
    tab = null;
  }
  if (tab === null) {
    tab = crypto.randomUUID();
    await hold(tab);
  }
  const name = tab;
  return {
    getItem: (key) => sessionStorage.getItem(key),
    setItem: (key, value) => {
      sessionStorage.setItem(TAB, name);
      sessionStorage.setItem(key, value);
    },
    removeItem: (key) => {
      sessionStorage.removeItem(TAB);
      sessionStorage.removeItem(key);
    },
  };
}

/** Holds a lock until the page is left; returns false if another page holds it. A page that is reloaded releases it shortly. */
function hold(tab: string): Promise<boolean> {
  return new Promise((resolve) => {
    const held = () => {
      resolve(true);
      return new Promise<never>(() => {});
    };
    navigator.locks
      .request(`${TAB} ${tab}`, { signal: AbortSignal.timeout(500) }, held)
      .catch(() => resolve(false));
  });
}
