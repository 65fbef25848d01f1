import type { Command } from "commander";
import { print, printJson } from "../output.ts";
import { asOwner } from "./account.ts";

export function addCertificate(command: Command): void {
  command
    .command("certificate")
    .argument("<id>", "id of the certificate")
    .description("print the signed certificate of an erasure")
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      "\nNeeds the owner's URL.\n\nExample:\n  $ plinth privacy certificate 019a8c4e-7c1e-7000-8000-000000000000 > certificate.jws",
    )
    .action(async (id: string, { json }: { readonly json?: boolean }) => {
      const { readSigned } = await import("../../privacy/certificate-files.ts");
      const { signed } = await asOwner((client) => readSigned(client, id));
      if (json) printJson({ id, signed });
      else print(signed);
    });
}
