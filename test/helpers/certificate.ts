/** A certificate that signs itself, for servers on this machine. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A certificate, and how a redis-server takes it. */
export interface Certificate {
  /** Its text, by which clients trust it. */
  readonly ca: string;
  /** The arguments of a redis-server that has it, without a port. */
  readonly args: readonly string[];
}

/**
 * Makes a certificate.
 *
 * @param folder The folder of its files.
 * @param names The names that it is for, as openssl writes them. @default localhost and 127.0.0.1
 */
export function makeCertificate(folder: string, names = "DNS:localhost,IP:127.0.0.1"): Certificate {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const subject = ["-subj", "/CN=localhost", "-addext", `subjectAltName=${names}`];
  execFileSync("openssl", [...kind, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
  const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert];
  return { ca: readFileSync(cert, "utf8"), args: [...files, "--tls-auth-clients", "no"] };
}
