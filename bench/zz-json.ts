import pg from "pg";
import { openSeeded } from "./compare/database.ts";
import * as SQL from "./compare/servers/sql.ts";
const seeded = await openSeeded("/tmp/lead-bench");
const c = new pg.Client(seeded.database.url("authenticator")); await c.connect();
const o = new pg.Client(seeded.database.url("owner")); await o.connect();
const { rows: [u] } = await o.query("select user_id from llm.chats limit 1 offset 5000");
await c.query("begin"); await c.query(`select set_config('role','plinth_user',true), set_config('jwt.claims.user_id',$1,true)`, [u.user_id]);
const T = `to_char(X,'YYYY-MM-DD"T"HH24:MI:SS.USTZH:TZM')`;
const t = (x: string) => T.replace("X", x);
const shape = (msg: string, agg: string, model: string, chat: string, chats: string, root: string) => `select ${root.replace("@Q@", () => `(select ${chats} from (select ${chat.replace("@M@", () => `(select ${agg} from (select ${msg.replace("@MODEL@", () => `(select ${model} from llm.models o where o.id = m.model_id limit 1)`)} from llm.messages m where m.chat_id=c.id and m.user_id=c.user_id order by m.created_at desc, m.id desc limit 10) p)`)} from llm.chats c order by c.updated_at desc, c.id desc limit 20) q)`)}::text`;
const variants: Record<string, string> = {
  hand: `select json_agg(x)::text from (${SQL.DEEP_PAGE}) x`,
  jbo: shape(`json_build_object('id',m.id,'role',m.role,'content',m.content,'createdAt',${t("m.created_at")},'model',@MODEL@) as v`, `json_build_object('nodes',coalesce(json_agg(p.v),'[]'::json))`, `json_build_object('id',o.id,'displayName',o.display_name)`,
    `json_build_object('id',c.id,'title',c.title,'updatedAt',${t("c.updated_at")},'messages',@M@) as v`, `json_build_object('nodes',coalesce(json_agg(q.v),'[]'::json))`, `json_build_object('chats',@Q@)`),
  jo: shape(`json_object('id':m.id,'role':m.role,'content':m.content,'createdAt':${t("m.created_at")},'model':@MODEL@) as v`, `json_object('nodes':coalesce(json_agg(p.v),'[]'::json))`, `json_object('id':o.id,'displayName':o.display_name)`,
    `json_object('id':c.id,'title':c.title,'updatedAt':${t("c.updated_at")},'messages':@M@) as v`, `json_object('nodes':coalesce(json_agg(q.v),'[]'::json))`, `json_object('chats':@Q@)`),
  r2j: shape(`m.id as "id",m.role as "role",m.content as "content",${t("m.created_at")} as "createdAt",@MODEL@ as "model"`, `json_build_object('nodes',coalesce(json_agg(p),'[]'::json))`, `row_to_json((select x from (select o.id as "id",o.display_name as "displayName") x))`,
    `c.id as "id",c.title as "title",${t("c.updated_at")} as "updatedAt",@M@ as "messages"`, `json_build_object('nodes',coalesce(json_agg(q),'[]'::json))`, `json_build_object('chats',@Q@)`),
  concat: shape(`'{"id":"' || m.id || '","role":' || to_json(m.role) || ',"content":' || to_json(m.content) || ',"createdAt":"' || ${t("m.created_at")} || '","model":' || coalesce(@MODEL@,'null') || '}' as v`, `'{"nodes":[' || coalesce(string_agg(p.v,','),'') || ']}'`, `'{"id":"' || o.id || '","displayName":' || to_json(o.display_name) || '}'`,
    `'{"id":"' || c.id || '","title":' || to_json(c.title) || ',"updatedAt":"' || ${t("c.updated_at")} || '","messages":' || @M@ || '}' as v`, `'{"nodes":[' || coalesce(string_agg(q.v,','),'') || ']}'`, `'{"chats":' || @Q@ || '}'`),
  cfn: shape(`concat('{"id":"', m.id , '","role":' , to_json(m.role) , ',"content":' , to_json(m.content) , ',"createdAt":"' , ${t("m.created_at")} , '","model":' , coalesce(@MODEL@,'null') , '}') as v`, `'{"nodes":[' || coalesce(string_agg(p.v,','),'') || ']}'`, `concat('{"id":"' , o.id , '","displayName":' , to_json(o.display_name) , '}')`,
    `concat('{"id":"' , c.id , '","title":' , to_json(c.title) , ',"updatedAt":"' , ${t("c.updated_at")} , '","messages":' , @M@ , '}') as v`, `'{"nodes":[' || coalesce(string_agg(q.v,','),'') || ']}'`, `'{"chats":' || @Q@ || '}'`),
};
variants.jboplain = variants.jbo!.replaceAll(/to_char\((.\.\w+),[^)]*\)/g, "$1");
const times: Record<string, number[]> = {};
for (let r = 0; r < 40; r++) for (const [k, text] of Object.entries(variants)) {
  const s = performance.now();
  let last: any;
  for (let i = 0; i < 10; i++) last = await c.query({ name: k, text });
  (times[k] ??= []).push((performance.now() - s) / 10);
  if (r === 0) console.log(k, last.rows[0][Object.keys(last.rows[0])[0]!]?.length);
}
for (const [k, v] of Object.entries(times)) { v.sort((a, b) => a - b); console.log(k, v[Math.floor(v.length / 4)]!.toFixed(3), v[v.length >> 1]!.toFixed(3)); }
await c.end(); await o.end(); await seeded.database.close();
