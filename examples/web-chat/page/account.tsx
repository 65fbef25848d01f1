import { Memories } from "./memories.tsx";
import { type Account, nodesOf } from "./operations.ts";
import { SecondFactors } from "./second-factors.tsx";

export function AccountPage({ account, onChange }: { account: Account; onChange: () => void }) {
  const { currentUser, currentSubscription: subscription, tokenBalance } = account;
  return (
    <section class="account" aria-label="Account">
      <h1>{currentUser?.username}</h1>
      <h2>Plan</h2>
      <p id="plan">
        {subscription
          ? `${subscription.plan?.displayName} (${subscription.status})`
          : `Your plan is ${currentUser?.tier ?? "free"}.`}
        {subscription?.renewsOn && ` Renews on ${subscription.renewsOn}.`}
      </p>
      {tokenBalance && <Balance {...tokenBalance} />}
      <Memories />
      <SecondFactors factors={nodesOf(currentUser?.mfaFactors)} onChange={onChange} />
    </section>
  );
}

function Balance({
  available,
  held,
  usedThisPeriod,
  isUnlimited,
  periodEndsAt,
}: NonNullable<Account["tokenBalance"]>) {
  if (isUnlimited) return <p>You have unlimited tokens.</p>;
  const [left, used, reserved] = [Number(available), Number(usedThisPeriod), Number(held)];
  return (
    <p>
      <meter min={0} max={left + used + reserved} value={left} aria-label="Tokens left" />{" "}
      {left.toLocaleString("en")} tokens left, {used.toLocaleString("en")} used
      {reserved > 0 && `, ${reserved.toLocaleString("en")} reserved for answers that are being written`}
      {periodEndsAt && ` · until ${new Date(periodEndsAt).toLocaleDateString("en", { dateStyle: "medium" })}`}
    </p>
  );
}
