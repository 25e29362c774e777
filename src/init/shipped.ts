/** scripts/bundle.mjs puts the text in. */
declare const SHIPPED_CONFIGURATION: string;

/** The commented example, config/knockd-nft.json. */
export const shippedConfiguration = SHIPPED_CONFIGURATION;
