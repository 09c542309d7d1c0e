/** The version of the package. A test holds it to package.json's. */
export const VERSION = "0.1.0";
