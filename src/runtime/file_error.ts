/** The error of a file operation, in plain words instead of the system's code. */
export class FileError extends Error {
  /** Always `"FileError"`. */
  override name = "FileError";
  /** The system's code, such as `"ENOSPC"`; empty if it gave no code. */
  readonly code: string;

  /**
   * Makes an error.
   *
   * @param action The operation that failed, such as `"write menu.jsonl"`.
   * @param cause The error of the system.
   */
  constructor(action: string, cause: unknown) {
    const { code = "", message = `${cause}` } = (cause ?? {}) as { code?: string; message?: string };
    // Some errors of Deno have no code, so their message is used.
    super(`Cannot ${action}: ${WORDS[code] ?? message.replace(/ \(os error \d+\)$/, "")}`, { cause });
    this.code = code;
  }
}

const WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the quota is used up",
  EFBIG: "the file would be too large",
  EMFILE: "too many files are open",
  EIO: "the device failed",
  EPIPE: "its reader is gone",
};
