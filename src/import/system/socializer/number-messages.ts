import type { Call } from "../mapping.ts";

/**
 * Numbers the messages of a batch as private.number_room_message numbers a single one, with one update and one announcement for
 * each room. A room's row that is updated for each message would have as many versions in a transaction as the room has messages,
 * and each update would pass all of them: a dry run is one transaction. {room_id, sender_id, created_at}
 *
 * A message whose room was deleted gets no numbers, so that its insert fails at the foreign key.
 */
export const NUMBER_MESSAGES: Call = {
  isFirst: true,
  sql: `
    with item as (
      select
        e.n, v.room_id, v.sender_id,
        case when v.created_at < now() then v.created_at else clock_timestamp() end as created_at
      from jsonb_to_recordset($1) e (n integer, "values" jsonb)
      cross join lateral jsonb_to_record(e."values") v (room_id uuid, sender_id uuid, created_at timestamptz)
    ),
    room as materialized (
      select r.id, r.last_sequence, r.last_event_sequence, r.last_activity_at
      from rooms.chat_rooms r
      where r.id in (select i.room_id from item i)
      order by r.id
      for no key update of r
    ),
    numbered as materialized (
      select
        i.n, r.id as room_id,
        r.last_sequence + row_number() over in_room as sequence,
        r.last_event_sequence + row_number() over in_room as event_sequence,
        case
          when i.sender_id is null then 0
          else row_number() over of_sender + coalesce((
            select m.sender_sequence
            from rooms.room_messages m
            where m.sender_id = i.sender_id and m.room_id = i.room_id
            order by m.sequence desc
            limit 1
          ), 0)
        end as sender_sequence,
        -- No message precedes the last one. An empty room's activity is that of its creation.
        greatest(
          max(i.created_at) over in_room, case when r.last_sequence > 0 then r.last_activity_at end
        ) as created_at
      from item i
      join room r on r.id = i.room_id
      window
        in_room as (partition by i.room_id order by i.n),
        of_sender as (partition by i.room_id, i.sender_id order by i.n)
    ),
    moved as (
      update rooms.chat_rooms r
      set last_sequence = l.sequence, last_event_sequence = l.event_sequence, last_activity_at = l.created_at
      from (select distinct on (d.room_id) d.* from numbered d order by d.room_id, d.sequence desc) l
      where r.id = l.room_id
      returning plinth.announce('room:' || r.id, r.last_event_sequence)
    )
    select
      i.n,
      to_jsonb(d) - array['n', 'room_id'] as added
    from item i
    left join numbered d on d.n = i.n
    where (select count(*) from moved) is not null`,
};
