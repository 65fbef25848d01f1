import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createShopDatabase, shop } from "../support/application/shop.ts";
import { type TestDatabase, withClient } from "../support/database.ts";
import { openSchema } from "../support/schema-in-process.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let manager: SignedIn;
let productId: string;
beforeAll(async () => {
  db = await createShopDatabase();
  api = await startApi(db, {}, { application: shop });
  [ada, bob, manager] = await Promise.all([signUp(api, "ada"), signUp(api, "bob"), signUp(api, "manager")]);
  await grantRole(db, manager.userId, "admin");
  productId = (await createProduct("Lamp", 2_500)).data.createProduct.product.id;
});
afterAll(async () => {
  await api?.close();
  await db?.drop();
});

/** The enum shop.order_state in GraphQL. */
const STATE = { open: "open", paid: "paid", closed: "closed" };

const CREATE_PRODUCT = `mutation ($product: ProductInput!) {
  createProduct(input: { product: $product }) { product { id } }
}`;
const CREATE_ORDER = `mutation ($order: OrderInput!) {
  createOrder(input: { order: $order }) { order { id state totalCents user { username } product { productName } } }
}`;

const createProduct = (productName: string, priceCents: number, token: string | undefined = manager.token) =>
  api.ask(CREATE_PRODUCT, { token, variables: { product: { productName, priceCents } } });
const createOrder = (token: string | undefined, quantity = 2) =>
  api.ask(CREATE_ORDER, { token, variables: { order: { productId, quantity } } });

test("a visitor and each user read the products", async () => {
  for (const token of [undefined, ada.token]) {
    const { data } = await api.ask("{ products { totalCount nodes { productName priceCents } } }", { token });
    expect(data.products).toEqual({ totalCount: 1, nodes: [{ productName: "Lamp", priceCents: 2_500 }] });
  }
});

test("a user without the permission and a visitor create no products", async () => {
  expect(codeOf(await createProduct("Chair", 100, ada.token))).toBe("FORBIDDEN");
  const answer = await api.ask(CREATE_PRODUCT, {
    variables: { product: { productName: "Chair", priceCents: 100 } },
  });
  expect(codeOf(answer)).toBe("UNAUTHENTICATED");
});

test("a violated constraint names its field", async () => {
  const { errors } = await createProduct("Free", 0);
  expect(errors).toMatchObject([{ extensions: { code: "BAD_USER_INPUT", field: "priceCents" } }]);
  const repeated = await createProduct("Lamp", 1);
  expect(repeated.errors).toMatchObject([{ extensions: { code: "CONFLICT", field: "productName" } }]);
});

describe("an order", () => {
  let orderId: string;
  beforeAll(async () => {
    const { data } = await createOrder(ada.token);
    expect(data.createOrder.order).toMatchObject({
      state: STATE.open,
      totalCents: 5_000,
      user: { username: "ada" },
      product: { productName: "Lamp" },
    });
    orderId = data.createOrder.order.id;
  });

  test("is visible to its user and to a manager, through each relation, and to no other user", async () => {
    const query = `{
      orders { nodes { id } }
      currentUser { orders { nodes { id } } }
      products { nodes { orders { totalCount } } }
      productSales { nodes { orders product { productName } } }
    }`;
    const own = (await api.ask(query, { token: ada.token })).data;
    expect(own).toMatchObject({
      orders: { nodes: [{ id: orderId }] },
      currentUser: { orders: { nodes: [{ id: orderId }] } },
      products: { nodes: [{ orders: { totalCount: 1 } }] },
      productSales: { nodes: [{ orders: 1, product: { productName: "Lamp" } }] },
    });
    const others = (await api.ask(query, { token: bob.token })).data;
    expect(others).toMatchObject({
      orders: { nodes: [] },
      currentUser: { orders: { nodes: [] } },
      products: { nodes: [{ orders: { totalCount: 0 } }] },
      productSales: { nodes: [] },
    });
    const all = (await api.ask(query, { token: manager.token })).data;
    expect(all).toMatchObject({
      orders: { nodes: [{ id: orderId }] },
      currentUser: { orders: { nodes: [] } },
    });
    expect(codeOf(await api.ask("{ orders { nodes { id } } }"))).toBe("UNAUTHENTICATED");
  });

  test("is changed by its user only, in the granted columns only", async () => {
    const update = (token: string, patch: string) =>
      api.ask(
        `mutation { updateOrder(input: { id: "${orderId}", patch: ${patch} }) { order { quantity state } } }`,
        {
          token,
        },
      );
    expect((await update(ada.token, "{ quantity: 3 }")).data.updateOrder.order).toEqual({
      quantity: 3,
      state: STATE.open,
    });
    expect(codeOf(await update(bob.token, "{ quantity: 4 }"))).toBe("NOT_FOUND");
    expect(codeOf(await update(manager.token, "{ quantity: 4 }"))).toBe("NOT_FOUND");
    expect(codeOf(await update(ada.token, `{ state: ${STATE.paid} }`))).toBe("GRAPHQL_VALIDATION_FAILED");
    const schema = await api.ask('{ __type(name: "OrderInput") { inputFields { name } } }');
    const names = schema.data.__type.inputFields.map(({ name }: { name: string }) => name);
    expect(names.sort()).toEqual(["productId", "quantity"]);
  });

  test("is reached by the application's function and plugin, which return typed errors", async () => {
    const cancel = (token: string) =>
      api.ask(`mutation { cancelOrder(input: { orderId: "${orderId}" }) { order { state } } }`, { token });
    expect((await cancel(bob.token)).errors).toMatchObject([
      { extensions: { code: "NOT_FOUND", field: "orderId" } },
    ]);
    expect((await cancel(ada.token)).data.cancelOrder.order.state).toBe(STATE.closed);

    const reorder = (token: string | undefined, quantity: number) =>
      api.ask(
        `mutation { reorder(input: { orderId: "${orderId}", quantity: ${quantity} }) { newOrderId } }`,
        {
          token,
        },
      );
    expect(codeOf(await reorder(undefined, 1))).toBe("UNAUTHENTICATED");
    expect((await reorder(bob.token, 1)).errors).toMatchObject([
      { message: "You have no such order.", extensions: { code: "NOT_FOUND", field: "orderId" } },
    ]);
    expect((await reorder(ada.token, 101)).errors).toMatchObject([
      { extensions: { code: "BAD_USER_INPUT", field: "quantity" } },
    ]);
    expect((await reorder(ada.token, 1)).data.reorder.newOrderId).toMatch(/^[0-9a-f-]{36}$/);
  });
});

test("lists have Plinth's limits and pages", async () => {
  await Promise.all([1, 2, 3].map(() => createOrder(bob.token)));
  const page = (after: string | null) =>
    api.ask(
      "query ($after: Cursor) { orders(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }",
      {
        token: bob.token,
        variables: { after },
      },
    );
  const first = (await page(null)).data.orders;
  const second = (await page(first.pageInfo.endCursor)).data.orders;
  expect([first.nodes.length, first.pageInfo.hasNextPage]).toEqual([2, true]);
  expect([second.nodes.length, second.pageInfo.hasNextPage]).toEqual([1, false]);
  const tooMany = await api.ask("{ orders(first: 100000) { nodes { id } } }", { token: bob.token });
  expect(tooMany.errors).toHaveLength(1);
});

test("a list that is used often is compiled", async () => {
  const query = "{ orders { nodes { state totalCents product { productName } } } }";
  const planned = () => api.logLines.filter(({ msg }) => /operation is planned/.test(String(msg))).length;
  const before = planned();
  const answers = [];
  for (let use = 0; use < 6; use++) answers.push((await api.ask(query, { token: bob.token })).text);
  expect(new Set(answers).size).toBe(1);
  expect(planned()).toBe(before);
  expect(answers[0]).toContain(`"state":"${STATE.open}"`);
});

test("the smart tag @ownRows makes a list read the caller's rows by their index, except with the permission", async () => {
  const conditions = async (userId: string) => {
    const schema = await openSchema(db, { role: "user", userId }, shop);
    try {
      await schema.ask("{ orders { nodes { id } } }");
      return schema.statements.filter(({ text }) => /"user_id" = \(select plinth\.current_user_id/.test(text))
        .length;
    } finally {
      await schema.close();
    }
  };
  expect(await conditions(bob.userId)).toBe(1);
  expect(await conditions(manager.userId)).toBe(0);
});

test("the deletion of an account deletes its orders, and the audit trail has each change", async () => {
  const carl = await signUp(api, "carl");
  await createOrder(carl.token);
  const count = (sql: string, ...values: unknown[]) =>
    withClient(db.url("owner"), async (client) => (await client.query(sql, values)).rows[0].count);
  const trail = `select count(*)::integer from security.audit_trail
                 where table_name = 'shop.orders' and operation = 'INSERT' and user_id = $1`;
  expect(await count(trail, carl.userId)).toBe(1);
  await withClient(db.url("owner"), (client) =>
    client.query("delete from identity.users where id = $1", [carl.userId]),
  );
  expect(await count("select count(*)::integer from shop.orders where user_id = $1", carl.userId)).toBe(0);
});
