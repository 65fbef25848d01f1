import type { Sealer } from "../../../auth/sealing.ts";
import { isObject } from "../../../support/is-object.ts";
import { type AnyStep, defineStep, type Loss } from "../mapping.ts";
import { ref } from "../references.ts";
import { known } from "./known.ts";

const PROVIDER = /^[a-z][a-z0-9_-]{0,49}$/;
const MAX_USER_INFO_BYTES = 16_384;

/** @param sealer encrypts the tokens of providers; without it they do not come along */
export const oauthProfilesStep = (sealer: Sealer | undefined): AnyStep =>
  defineStep({
    relation: "oauth_profiles",
    key: ["id"],
    columns: {
      id: "id",
      user_id: "id",
      provider: "text",
      provider_user_id: "text",
      access_token: "text?",
      refresh_token: "text?",
      token_expires_at: "time?",
      user_info: "json?",
      created_at: "time?",
      updated_at: "time?",
    },
    targets: [
      { table: "identity.oauth_profiles", write: "insert", unverified: ["updated_at"] },
      // Sealing is random, so another text stands for the same token.
      {
        table: "private.oauth_tokens",
        write: "insert",
        unverified: ["access_token_sealed", "refresh_token_sealed", "updated_at"],
      },
    ],
    map(row, _prepared, { key }) {
      const provider = row.provider?.toLowerCase() ?? "";
      if (!PROVIDER.test(provider))
        return {
          omitted: "the name of a provider must begin with a letter, and have letters, digits, - and _ only",
        };
      const losses: Loss[] = [];
      const { access_token, refresh_token } = row;
      const seal = (token: string) => sealer!.seal("oauth token", token);
      let tokens = null;
      if (access_token && sealer)
        tokens = known({
          profile_id: ref("oauth_profiles", key),
          access_token_sealed: seal(access_token),
          refresh_token_sealed: refresh_token ? seal(refresh_token) : null,
          updated_at: row.updated_at,
        });
      else
        for (const [column, token] of Object.entries({ access_token, refresh_token }))
          if (token)
            losses.push({
              column,
              reason: sealer ? "has no access token next to it" : "needs PLINTH_MASTER_KEYS to be encrypted",
            });
      return {
        values: [
          known({
            user_id: ref("users", row.user_id),
            provider,
            provider_user_id: row.provider_user_id,
            email: emailOf(row.user_info),
            user_info: userInfoOf(row.user_info, losses),
            token_expires_at: row.token_expires_at,
            created_at: row.created_at,
            updated_at: row.updated_at ?? row.created_at,
          }),
          tokens,
        ],
        losses,
      };
    },
  });

/** The provider's own claim, which proves nothing. */
function emailOf(info: unknown): string | null {
  const { email } = isObject(info) ? info : {};
  return typeof email === "string" && email.length >= 3 && email.length <= 254 ? email.toLowerCase() : null;
}

function userInfoOf(info: unknown, losses: Loss[]): unknown {
  if (info === null) return null;
  if (isObject(info) && Buffer.byteLength(JSON.stringify(info)) <= MAX_USER_INFO_BYTES) return info;
  losses.push({ column: "user_info", reason: "must be a JSON object of up to 16 kB" });
  return null;
}
