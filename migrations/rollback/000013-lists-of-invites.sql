drop function rooms.my_invite_ids();
