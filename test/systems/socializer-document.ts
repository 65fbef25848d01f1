/** The SQL of Socializer's document, copied as it is: its ids are those of a new database. */

/** "Creating a New User with Training" */
export const NEW_USER_WITH_TRAINING = `
-- 1. Create user
INSERT INTO users (username, hashed_password, hashed_email, encryption_key)
VALUES ('alice', 'hashed_pw', 'hashed_email', 'fernet_key');

-- 2. Add skills to catalog (if not exist)
INSERT INTO skills (skill_name) VALUES ('empathy'), ('active_listening');

-- 3. Initialize user skills
INSERT INTO user_skills (user_id, skill_id, level)
VALUES (1, 1, 0), (1, 2, 0);

-- 4. Start training
INSERT INTO training (user_id, skill_id, status, progress)
VALUES (1, 1, 'active', 0.0);
`;

/** "Creating a Private Chat Room" */
export const PRIVATE_CHAT_ROOM = `
-- 1. Create room
INSERT INTO chat_rooms (creator_id, room_type, ai_enabled)
VALUES (1, 'private', true);

-- 2. Add members
INSERT INTO room_members (room_id, user_id, role)
VALUES (1, 1, 'creator'), (1, 2, 'member'), (1, NULL, 'ai');

-- 3. Send invitation
INSERT INTO room_invites (room_id, inviter_id, invitee_id)
VALUES (1, 1, 2);
`;

/** "Get User's Training Progress" */
export const TRAINING_PROGRESS = `
SELECT 
  u.username,
  s.skill_name,
  t.progress,
  t.status,
  us.level as current_level
FROM training t
JOIN users u ON t.user_id = u.id
JOIN skills s ON t.skill_id = s.id
LEFT JOIN user_skills us ON us.user_id = t.user_id AND us.skill_id = t.skill_id
WHERE u.id = 1;
`;

/** "Get Room Messages with Sender Info" */
export const ROOM_MESSAGES = `
SELECT 
  rm.id,
  rm.content,
  rm.created_at,
  rm.sender_type,
  u.username as sender_name
FROM room_messages rm
LEFT JOIN users u ON rm.sender_id = u.id
WHERE rm.room_id = 1
  AND rm.is_deleted = false
ORDER BY rm.created_at DESC
LIMIT 50;
`;

/** "Get User's Active Room Invites" */
export const ACTIVE_INVITES = `
SELECT 
  ri.id,
  cr.name as room_name,
  u.username as inviter_name,
  ri.created_at
FROM room_invites ri
JOIN chat_rooms cr ON ri.room_id = cr.id
JOIN users u ON ri.inviter_id = u.id
WHERE ri.invitee_id = 1
  AND ri.status = 'pending';
`;

/** The statements of a flow, each with the comment above it. */
export const steps = (flow: string): string[] =>
  flow
    .split(";")
    .filter((statement) => statement.trim() !== "")
    .map((statement) => `${statement};`);
