import type { ForeignPasswordHash } from "../../../src/auth/foreign-password-hash.ts";

/** Published vectors, and hashes of the frameworks themselves, with their passwords. */
export interface Vector {
  readonly origin: string;
  readonly password: string;
  readonly input: ForeignPasswordHash;
  readonly algorithm?: "argon2id" | "bcrypt" | "bcrypt-sha256";
}

const RFCS: readonly Vector[] = [
  {
    origin: "RFC 7914, section 12",
    password: "password",
    input: {
      hash: "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
      salt: "NaCl",
      algorithm: "scrypt:ln=10,r=8,p=16",
    },
  },
  {
    origin: "RFC 7914, section 12, Node's default costs",
    password: "pleaseletmein",
    input: {
      hash: "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
      salt: "SodiumChloride",
      algorithm: "scrypt",
    },
  },
  {
    origin: "RFC 7914, section 11",
    password: "Password",
    input: {
      hash: "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d",
      salt: "NaCl",
      algorithm: "pbkdf2-sha256:i=80000",
    },
  },
  {
    origin: "RFC 6070",
    password: "password",
    input: {
      hash: "4b007901b765489abead49d926f721d065a429c1",
      salt: "salt",
      algorithm: "PBKDF2_SHA1:i=4096",
    },
  },
  {
    origin: "RFC 1321",
    password: "abc",
    input: { hash: "900150983cd24fb0d6963f7d28e17f72", algorithm: "md5" },
  },
  {
    origin: "FIPS 180-2",
    password: "abc",
    input: {
      hash: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      algorithm: "SHA-256",
    },
  },
  {
    origin: "RFC 4231, the key as the salt",
    password: "what do ya want for nothing?",
    input: {
      hash: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      salt: "Jefe",
      algorithm: "sha256",
      order: "hmac",
    },
  },
];

// phc-winner-argon2, src/test.c; the last is version 16
const ARGON2: readonly Vector[] = [
  "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
  "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
  "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
].map((hash) => ({ origin: "phc-winner-argon2", password: "password", input: { hash } }));

const WORD = "lètmein";

// django 5.2.17, passlib 1.7.4, Werkzeug 3.1.9, argon2-cffi 25.1.0 and bcrypt 5.0.0
const FRAMEWORKS: readonly Vector[] = (
  [
    ["Django", "pbkdf2_sha256$1000$seasalt$JgZryXe2Ga8ysg6XbzkLpTdyPQrHqsinbL9BnnhgX4A="],
    ["Django", "pbkdf2_sha1$1000$seasalt$ljleU4wBmTtz/MoG5YTwxpM0d7I="],
    [
      "Django",
      "scrypt$16384$seasalt$8$5$ECMIUp+LMxMSK8xB/IVyba+KYGTI7FTnet025q/1f/vBAVnnP3hdYqJuRi+mJn6ji6ze3Fbb7JEFPKGpuEf5vw==",
    ],
    [
      "Django",
      "argon2$argon2id$v=19$m=1024,t=2,p=2$c2Vhc2FsdHNhbHQ$Okd00Pfsh67971Mi1+WQjw5ddNpSP7mT/j55wztWEUg",
    ],
    ["Django", "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuulyx/yrfLnuLCi6gwFG5mrkJjuQKpL6S"],
    ["Django", "bcrypt$$2b$04$abcdefghijklmnopqrstuuanVo7Xut1CH8VGIGlz1JovQh9GJbbtG"],
    ["Django", "md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3"],
    [
      "Werkzeug",
      "scrypt:1024:8:1$seasalt$faa3b68d391551b3cd96789390763dea575224ab3853459089ff146d695f3b7c090cd84a3a0fa93ed0dc9224fa670d2a904bca210d4c74e35f1b1b16ae9a2236",
    ],
    [
      "Werkzeug",
      "pbkdf2:sha256:1000$seasalt$26066bc977b619af32b20e976f390ba537723d0ac7aac8a76cbf419e78605f80",
    ],
    [
      "Werkzeug",
      "pbkdf2:sha512:1000$seasalt$32fa58cd16fdb7c20750ed54edc09c18f7c8f892dc15104e51b92dcbebc7997ccca063b71069f9643c45c2490e1d54f9e44973dd0733b36f853690ca523bff44",
    ],
    ["Werkzeug", "pbkdf2:sha1:1000$seasalt$96395e538c01993b73fcca06e584f0c6933477b2"],
    ["passlib", "$pbkdf2-sha256$1000$c2Vhc2FsdCFzZWFzYWx0Pw$1QLuZYhjcUiWarne4oTCJU7D9D7gouFMAmt724ibl5E"],
    [
      "passlib",
      "$pbkdf2-sha512$1000$.//.IHNlYXNhbHQ$OnSgGA/rCLFpMx.ii6x/0FYN96cbjNLENjv1pgwSSgsJDwXxCcZSW88VOuVpeg.EC7F8hHmRIKoNepyiGFrYDQ",
    ],
    ["passlib", "$pbkdf2$1000$.//.IHNlYXNhbHQ$e5axUyJYdgYcaQzKQreFSgf.hn0"],
    ["passlib", "$scrypt$ln=8,r=8,p=1$+//+IHNlYXNhbHQ$cB8N06lfcWBnluYkKf/RKPJOR5zIMlXeLHzho0T73Vc"],
    [
      "passlib",
      "$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$bECcHS2NoJ/v2ijTke6/UQy+orE6b4rfBF9Z3jEAxRA",
    ],
    ["passlib", "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$ZwYz11GHq9hhxfgpKsGoy.vMT8iqthq"],
    ["passlib", "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$tRS4xaQxz3TySOluS7oOoHObefK.upe"],
  ] as const
).map(([origin, hash]) => ({ origin, password: WORD, input: { hash } }));

/** argon2_cffi.low_level.hash_secret_raw with its default costs, which are strong enough for Plinth's own column. */
const SEPARATE: readonly Vector[] = [
  {
    hash: "628998e7156489afaa85620d07f45ae900013126f1071e29bb5d46eafcd7793d",
    salt: "736f6d6573616c74736f6d6573616c74",
  },
  { hash: "YomY5xVkia+qhWINB/Ra6QABMSbxBx4pu11G6vzXeT0=", salt: "c29tZXNhbHRzb21lc2FsdA==" },
  {
    hash: "628998e7156489afaa85620d07f45ae900013126f1071e29bb5d46eafcd7793d",
    salt: "somesaltsomesalt",
    saltEncoding: "text" as const,
  },
].map((columns) => ({
  origin: "argon2-cffi, salt in its own column",
  password: WORD,
  input: { ...columns, algorithm: "argon2" },
  algorithm: "argon2id",
}));

const BCRYPT: readonly Vector[] = [
  // crypt_blowfish, wrapper.c; ASCII passwords have the same hash under $2x$.
  {
    origin: "crypt_blowfish",
    password: "U*U",
    input: { hash: "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" },
  },
  // jBCrypt, TestBCrypt.java
  {
    origin: "jBCrypt",
    password: "abc",
    input: { hash: "$2a$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi" },
    algorithm: "bcrypt",
  },
];

export const VECTORS: readonly Vector[] = [...RFCS, ...ARGON2, ...FRAMEWORKS, ...SEPARATE, ...BCRYPT];
