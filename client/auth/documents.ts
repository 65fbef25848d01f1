const CREDENTIALS = "accessToken refreshToken";
const CHALLENGE = "challenge { token expiresAt methods }";

export const REGISTER = `mutation Register($input: RegisterInput!) { it: register(input: $input) { ${CREDENTIALS} } }`;
export const LOGIN = `mutation Login($input: LoginInput!) { it: login(input: $input) { ${CREDENTIALS} ${CHALLENGE} } }`;
export const REFRESH = `mutation Refresh($input: RefreshInput!) { it: refresh(input: $input) { ${CREDENTIALS} } }`;
export const COMPLETE_SIGN_IN = `mutation CompleteSignIn($input: CompleteSignInInput!) { it: completeSignIn(input: $input) { ${CREDENTIALS} } }`;
export const START_PASSKEY_SIGN_IN =
  "mutation StartPasskeySignIn($input: StartPasskeySignInInput!) { it: startPasskeySignIn(input: $input) { options } }";
export const FINISH_PASSKEY_SIGN_IN = `mutation FinishPasskeySignIn($input: FinishPasskeySignInInput!) { it: finishPasskeySignIn(input: $input) { ${CREDENTIALS} } }`;
export const START_PROVIDER_SIGN_IN =
  "mutation StartProviderSignIn($input: StartProviderSignInInput!) { it: startProviderSignIn(input: $input) { authorizationUrl flowToken } }";
export const FINISH_PROVIDER_SIGN_IN = `mutation FinishProviderSignIn($input: FinishProviderSignInInput!) { it: finishProviderSignIn(input: $input) { ${CREDENTIALS} ${CHALLENGE} } }`;
export const CHANGE_PASSWORD = `mutation ChangePassword($input: ChangePasswordInput!) { it: changePassword(input: $input) { ${CREDENTIALS} } }`;
export const LOGOUT =
  "mutation Logout($input: LogoutInput!) { it: logout(input: $input) { clientMutationId } }";
export const REAUTHENTICATE =
  "mutation Reauthenticate($input: ReauthenticateInput!) { it: reauthenticate(input: $input) { authenticatedAt } }";
export const START_PASSKEY_REAUTHENTICATION =
  "mutation StartPasskeyReauthentication { it: startPasskeyReauthentication { options } }";
export const START_PASSKEY_REGISTRATION =
  "mutation StartPasskeyRegistration($input: StartPasskeyRegistrationInput!) { it: startPasskeyRegistration(input: $input) { options } }";
export const FINISH_PASSKEY_REGISTRATION =
  "mutation FinishPasskeyRegistration($input: FinishPasskeyRegistrationInput!) { it: finishPasskeyRegistration(input: $input) { recoveryCodes } }";
export const START_TOTP =
  "mutation StartTotp($input: StartTotpInput!) { it: startTotp(input: $input) { factorId secret uri } }";
export const CONFIRM_TOTP =
  "mutation ConfirmTotp($input: ConfirmTotpInput!) { it: confirmTotp(input: $input) { recoveryCodes } }";
