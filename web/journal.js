// Journals in IndexedDB: records of bytes under a name, each with a number. A journal changes by whole transactions, which last when they are done.

const RECORDS = "records";

/** The database; it is let go of when another tab wants to change or delete it. */
let database = null;

function open() {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("polyglance indexes", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(RECORDS);
    request.onsuccess = () => {
      const forget = () => (database = null);
      request.result.onclose = forget;
      request.result.onversionchange = () => {
        request.result.close();
        forget();
      };
      resolve(request.result);
    };
    request.onerror = () => {
      database = null;
      reject(request.error);
    };
  });
  return database;
}

/** All numbers of a journal, from one on. */
const from = (name, number) => IDBKeyRange.bound([name, number], [name, Infinity]);

/** The records from a number on, as `[number, bytes]`. */
export async function read(name, number) {
  const records = (await open()).transaction(RECORDS).objectStore(RECORDS);
  const [keys, values] = [records.getAllKeys(from(name, number)), records.getAll(from(name, number))];
  await done(values.transaction);
  return keys.result.map(([, key], index) => [key, values.result[index]]);
}

/** Adds records, the first of which gets this number; in place of all before if `anew`. A number that is taken is an error: somebody else writes, too. */
export async function append(name, number, added, anew) {
  const transaction = (await open()).transaction(RECORDS, "readwrite", { durability: "strict" });
  const records = transaction.objectStore(RECORDS);
  added.forEach((bytes, index) => records.add(bytes, [name, number + index]));
  // Last: if a record cannot be added at all, the others stay.
  if (anew) records.delete(IDBKeyRange.bound([name, 0], [name, number], false, true));
  await done(transaction);
}

/** Removes a journal. */
export async function remove(name) {
  const transaction = (await open()).transaction(RECORDS, "readwrite", { durability: "strict" });
  transaction.objectStore(RECORDS).delete(from(name, 0));
  await done(transaction);
}

function done(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error ?? new DOMException("the transaction was stopped", "AbortError"));
  });
}
