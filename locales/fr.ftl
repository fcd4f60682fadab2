# Les pages de la personne.

heading = Vos e-mails de { $sender }
who = { $sender } écrit à { $address }.

list-heading = Cette liste
list-open = Ce message vient de la liste « { $list } ».
list-left = Vous avez quitté la liste « { $list } ». Plus rien n’en sera envoyé.
list-leave = Me désabonner de « { $list } »
list-back = Me réabonner à « { $list } »
list-notice = En appuyant sur ce bouton, vous acceptez de recevoir les e-mails de la liste « { $list } » de { $sender } à l’adresse { $address }. Vous pouvez vous désabonner à tout moment par le lien présent dans chaque message.

all-heading = Tous les messages de { $sender }
all-open = Arrêter toute la prospection de { $sender }, sur toutes les listes. Les messages liés à une commande ou à un compte ne sont pas concernés.
all-left = { $sender } n’envoie plus de prospection à { $address }, sur aucune liste.
all-leave = Arrêter toute la prospection de { $sender }
all-back = Recevoir à nouveau la prospection de { $sender }
all-notice = En appuyant sur ce bouton, vous acceptez de recevoir les e-mails de prospection de { $sender } à l’adresse { $address } sur toutes ses listes : { $lists }. Vous pouvez vous désabonner à tout moment par le lien présent dans chaque message.

choose-heading = Choisir par thème
choose-hint = Ce qui est activé peut vous être envoyé.
choose-save = Enregistrer mes choix

done-heading = C’est fait
done-list = { $address } ne recevra plus les e-mails de la liste « { $list } » de { $sender }. Cela vaut dès maintenant.
done-all = { $address } ne recevra plus de prospection de { $sender }. Cela vaut dès maintenant.
done-choices = Vos choix sont enregistrés et valent dès maintenant.
done-list-back = { $address } peut à nouveau recevoir la liste « { $list } » de { $sender }.
done-all-back = { $address } peut à nouveau recevoir la prospection de { $sender }.
mistake = C’était une erreur ?
more = Voir tous les choix

shut = Cette adresse est bloquée pour une raison que cette page ne peut pas changer. Veuillez vous adresser à { $sender }.
shut-heading = Impossible ici

unknown-heading = Ce lien n’est pas connu ici
unknown-text = Veuillez utiliser le lien d’un message que vous avez reçu, exactement tel qu’il y figure.
later-heading = Pas encore enregistré
later-text = Votre souhait n’a pas pu être enregistré pour le moment. Veuillez réessayer dans quelques minutes.
often-heading = Trop de demandes
often-text = Veuillez patienter quelques minutes, puis réessayer.
unclear-heading = Demande non comprise
unclear-text = Rien n’a été changé. Veuillez ouvrir le lien de votre message et utiliser les boutons de la page.

contact = Contact
imprint = Mentions légales
languages = Langue

confirm-subject-list = Merci de confirmer : « { $list } » de { $sender }
confirm-subject-all = Merci de confirmer : e-mails de { $sender }
confirm-asked-list = Cette adresse a été saisie pour recevoir la liste « { $list } » de { $sender }. Rien ne sera envoyé sans votre confirmation.
confirm-asked-all = Cette adresse a été saisie pour recevoir les e-mails de { $sender }. Rien ne sera envoyé sans votre confirmation.
confirm-do = Si c'était vous, ouvrez cette page et appuyez sur le bouton :
confirm-not-you = Si ce n'était pas vous, vous n'avez rien à faire. Le lien est valable { $days } jours, et il n'y a pas de rappel.
confirm-heading = Encore une étape
confirm-button = Oui, je veux recevoir ces e-mails
confirm-done-list = { $sender } peut désormais vous envoyer la liste « { $list } » à { $address }. Vous pouvez la quitter à tout moment par le lien de chaque message.
confirm-done-all = { $sender } peut désormais vous envoyer ses e-mails à { $address }. Vous pouvez les arrêter à tout moment par le lien de chaque message.
confirm-expired-heading = Ce lien a expiré
confirm-expired = Rien n'a été enregistré. Si vous voulez toujours recevoir ces e-mails de { $sender }, merci de saisir votre adresse à nouveau.
confirm-left-heading = Non enregistré
confirm-left = Depuis l'envoi de ce lien, cette adresse a dit non à { $sender }, et cela compte. Si vous voulez recevoir ces e-mails, merci de saisir votre adresse à nouveau.
