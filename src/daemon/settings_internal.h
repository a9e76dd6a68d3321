/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files that read and write settings share. */

#include "daemon/settings.h"

/* Text to the key's value in settings; 0, or -EINVAL and settings untouched. */
int setting_parse(Settings *settings, SettingKey key, const char *value);
/* One of two words; 0 or -EINVAL. */
int setting_parse_word(const char *value, const char *yes, const char *no, bool *ret);

/* As settings_read_file(), of text that is said to be path's. */
int settings_read_text(Settings *settings, const char *path, const char *text,
                       char ret_why[SETTINGS_WHY_SIZE]);
