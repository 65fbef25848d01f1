import type { IdentityProof } from "plinth/client";

let dialog: HTMLDialogElement | null = null;

/** Asks who is sitting at the keyboard: the client calls this before sensitive changes, if the sign-in is some time ago. */
export function confirmIdentity(): Promise<IdentityProof | undefined> {
  dialog!.returnValue = "";
  dialog!.showModal();
  return new Promise((resolve) => {
    const onClose = () => {
      const form = dialog!.querySelector("form")!;
      const proof = new FormData(form).get("proof") as string;
      form.reset();
      if (dialog!.returnValue !== "confirm") resolve(undefined);
      else resolve(/^\d{6}$/.test(proof) ? { code: proof } : { password: proof });
    };
    dialog!.addEventListener("close", onClose, { once: true });
  });
}

export function ConfirmIdentity() {
  return (
    <dialog
      aria-labelledby="confirm-title"
      ref={(element) => {
        dialog = element;
      }}
    >
      <form method="dialog">
        <h2 id="confirm-title">Confirm it is you</h2>
        <label>
          Password, or the code of your authenticator app
          <input name="proof" type="password" autocomplete="current-password" required />
        </label>
        <div class="row">
          <button type="submit" value="confirm">
            Confirm
          </button>
          <button type="submit" value="cancel" class="quiet" formNoValidate>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}
