import type { PasswordHasher } from "../auth/password-hash.ts";
import { isPasswordTooLongToRead } from "../auth/password-policy.ts";
import type { AttemptLimits } from "../limits/attempt-limits.ts";
import { type RequestContext, requireClaims } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import { PlinthError } from "../support/errors.ts";

export interface SetRoomPasswordInput {
  readonly roomId: string;
  /** Null or undefined deletes the password. */
  readonly password?: string | null;
}

export interface JoinRoomWithPasswordInput {
  readonly roomId: string;
  readonly password: string;
}

/** Room passwords, hashed and verified like account passwords: outside the database and off the event loop. */
export interface RoomPasswords {
  /** @throws PlinthError BAD_USER_INPUT, UNAVAILABLE; PL401, PL403 if the caller does not moderate the room, PL404 */
  set(input: SetRoomPasswordInput, request: RequestContext): Promise<{ readonly roomId: string }>;
  /**
   * Makes the caller a member. Error and duration are the same for a wrong password, a room without one and an unknown room.
   * @throws PlinthError INVALID_CREDENTIALS, RATE_LIMITED, UNAVAILABLE; PL403 for banned users
   */
  join(input: JoinRoomWithPasswordInput, request: RequestContext): Promise<{ readonly memberId: string }>;
}

const MIN_LENGTH = 4;

export function createRoomPasswords(parts: {
  callPrivateFunction: CallPrivateFunction;
  attemptLimits: AttemptLimits;
  hasher: PasswordHasher;
}): RoomPasswords {
  const { callPrivateFunction, attemptLimits, hasher } = parts;

  return {
    async set({ roomId, password = null }, request) {
      const { userId } = requireClaims(request);
      if (password !== null && [...password].length < MIN_LENGTH)
        throw new PlinthError("BAD_USER_INPUT", `A room password needs at least ${MIN_LENGTH} characters.`, {
          field: "password",
        });
      // A hash costs as much as an attempt, so it counts as one.
      await attemptLimits.perAccount("room_password_per_account", userId, request);
      const hash = password === null ? null : (await hasher.hash(password)).hash;
      await callPrivateFunction(request, "select private.set_room_password($1, $2)", [roomId, hash]);
      return { roomId };
    },

    async join({ roomId, password }, request) {
      const { userId } = requireClaims(request);
      await attemptLimits.perAccount("room_password_per_account", userId, request);
      await attemptLimits.perAccount("room_password_per_room", roomId.toLowerCase(), request);
      const [found] = await callPrivateFunction<{ hash: string | null }>(
        request,
        "select private.find_room_password($1) as hash",
        [roomId],
      );
      const hash = found?.hash ?? null;
      const matches =
        hash === null || isPasswordTooLongToRead(password)
          ? await hasher.verifyDummy(password)
          : await hasher.verify(password, hash);
      if (!matches) throw refused();
      const [joined] = await callPrivateFunction<{ id: string | null }>(
        request,
        "select private.join_room_with_password($1, $2) as id",
        [roomId, hash],
      );
      if (!joined?.id) throw refused();
      return { memberId: joined.id };
    },
  };
}

function refused(): PlinthError {
  return new PlinthError("INVALID_CREDENTIALS", "The room does not exist or the password is wrong.");
}
