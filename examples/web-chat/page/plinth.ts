import { createClient } from "plinth/client";
import { confirmIdentity } from "./confirm-identity.tsx";

/** The server's address, set when the page is bundled. */
declare const PLINTH_URL: string;

export const client = createClient({ url: PLINTH_URL, confirmIdentity });
