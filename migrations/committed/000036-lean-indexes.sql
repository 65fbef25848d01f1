--! Previous: sha1:0ef3a62dc99d918041005bf62247a6db14d1f78c
--! Hash: sha1:c42e6b4c6c65a961a859910feddb1c67bdcb8608
--! Message: lean indexes

-- The unique index on (user_id, code_hash) serves every query by user.
drop index private.recovery_codes_user_id_idx;
