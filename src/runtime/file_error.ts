/** What a file could not be used for, in words for a person. */
export class FileError extends Error {
  /** Always `"FileError"`. */
  override name = "FileError";
  /** The system's code, such as `"ENOSPC"`; empty where there is none. */
  readonly code: string;

  /**
   * Makes an error.
   *
   * @param action What could not be done, such as `"write menu.jsonl"`.
   * @param cause What the system says.
   */
  constructor(action: string, cause: unknown) {
    const { code = "", message = `${cause}` } = (cause ?? {}) as { code?: string; message?: string };
    // Deno's words where it has no code.
    super(`cannot ${action}: ${WORDS[code] ?? message.replace(/ \(os error \d+\)$/, "")}`, { cause });
    this.code = code;
  }
}

const WORDS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is no folder",
  EISDIR: "it is a folder",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the quota is used up",
  EFBIG: "the file would be too large",
  EMFILE: "too many files are open",
  EIO: "the device failed",
  EPIPE: "nobody reads it any more",
};
